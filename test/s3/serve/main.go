// Command serve runs the S3 service of the tests for another process: it makes a
// bucket, writes where that is and what its key is as a line of JSON, and ends
// with its standard input.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/underseal/underseal/test/s3/gateway"
)

const bucket = "underseal-files"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: serve DIRECTORY (an empty one, for the objects)")
		os.Exit(2)
	}
	out := os.Stdout
	os.Stdout = os.Stderr // the service has words of its own
	err := gateway.Run(os.Args[1], func(endpoint string) error { return announce(out, endpoint) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func announce(out io.Writer, endpoint string) error {
	admin, err := minio.New(strings.TrimPrefix(endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(gateway.AccessKey, gateway.SecretKey, ""), Region: "us-east-1",
	})
	if err != nil {
		return err
	}
	if err := admin.MakeBucket(context.Background(), bucket, minio.MakeBucketOptions{}); err != nil {
		return err
	}
	line := map[string]string{"endpoint": endpoint, "bucket": bucket, "access_key": gateway.AccessKey, "secret_key": gateway.SecretKey}
	if err := json.NewEncoder(out).Encode(line); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
