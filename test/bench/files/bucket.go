package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// bucket is an S3 service with a bucket, as a child process.
type bucket struct {
	Endpoint  string `json:"endpoint"`
	Name      string `json:"bucket"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`

	cmd   *exec.Cmd
	input io.Closer // ends it
}

// startBucket builds and starts the service of test/s3, with its objects below dir.
func startBucket(dir string) (*bucket, error) {
	binary, objects := filepath.Join(dir, "s3-service"), filepath.Join(dir, "objects")
	if err := os.Mkdir(objects, 0o700); err != nil {
		return nil, err
	}
	if out, err := exec.Command("go", "build", "-C", "test/s3", "-o", binary, "./serve").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the S3 service: %w\n%s", err, out)
	}
	b := &bucket{cmd: exec.Command(binary, objects)}
	b.cmd.Stderr = os.Stderr
	stdin, err := b.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	b.input = stdin
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, b)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the S3 service did not start: %w", err), b.stop())
	}
	return b, nil
}

func (b *bucket) stop() error { return errors.Join(b.input.Close(), b.cmd.Wait()) }

// settings are those of a server that keeps its files in the bucket; the files of
// its key are put below dir.
func (b *bucket) settings(dir string) (string, error) {
	access, secret := filepath.Join(dir, "s3-id"), filepath.Join(dir, "s3-secret")
	if err := os.WriteFile(access, []byte(b.AccessKey), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(secret, []byte(b.SecretKey), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("blobs: s3\ns3:\n  endpoint: %s\n  bucket: %s\n  access_key: file:%s\n  secret_key: file:%s\n",
		b.Endpoint, b.Name, access, secret), nil
}
