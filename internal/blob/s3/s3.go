// Package s3 keeps blobs in a bucket of S3-compatible storage, one object each:
//
//	PREFIX/DEPLOYMENT/TENANT/ID
//
// A blob that is larger than a part is written as a multipart upload, which
// nobody sees until it is completed. Uploads that ended without that are found
// and aborted by Sweep, since the storage may be out of reach at the start.
package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// Config says where the bucket is.
type Config struct {
	Endpoint string // URL of the service, without the bucket; http is for this machine only
	Bucket   string
	Region   string // default: us-east-1
	Prefix   string // of all names in the bucket, for buckets with other contents
	CAFile   string // PEM file of the authority that signed the service's certificate, if it is not a public one

	AccessKey string // id of the key
	SecretKey string

	// Deployment is the id of the installation, so that several share a bucket.
	Deployment string
	// PartSize is how much of an upload is held in memory, in bytes. Default 5 MiB,
	// the least that S3 allows.
	PartSize int
	// Growth is after how many parts their size doubles, three times in all. S3 takes
	// 10,000 parts; with the default, 2,500, they hold 183 GiB.
	Growth int
	// Transport reaches the service. Default: HTTP with TLS 1.2 or newer.
	Transport http.RoundTripper
}

// requestTries is how often a request is sent before it has failed. Between two
// tries are 0.1 to 1 seconds.
const requestTries = 4

// callTimeout is how long a call may take with all its tries, be it that of a
// part: a service that hangs must not hold an upload for ever.
const callTimeout = 2 * time.Minute

// doublings is how often the size of parts doubles.
const doublings = 3

// Store is a bucket of blobs.
type Store struct {
	core     *minio.Core
	bucket   string
	prefix   string // of all blobs, with a slash at its end
	partSize int
	growth   int
	rooms    rooms // for the parts of uploads

	mu   sync.Mutex      // guards live
	live map[string]bool // names that are being written
}

var (
	_ blob.Store   = (*Store)(nil)
	_ blob.Sweeper = (*Store)(nil)
)

// Open makes the store without asking the service. Settings that cannot be right
// are Invalid.
func Open(cfg Config) (*Store, error) {
	endpoint, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		if cfg.Transport, err = cfg.transport(endpoint.Scheme == "https"); err != nil {
			return nil, err
		}
	}
	core, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure:     endpoint.Scheme == "https",
		Region:     cfg.Region,
		Transport:  cfg.Transport,
		MaxRetries: requestTries,
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "the S3 service's settings: %w", err)
	}
	core.SetAppInfo("underseal", "1")
	return &Store{
		core: core, bucket: cfg.Bucket, partSize: cfg.PartSize, growth: cfg.Growth, live: map[string]bool{},
		rooms:  rooms{size: cfg.PartSize << doublings},
		prefix: strings.TrimPrefix(path.Join(cfg.Prefix, cfg.Deployment)+"/", "/"),
	}, nil
}

// check fills in defaults and names the setting that is wrong.
func (cfg *Config) check() (*url.URL, error) {
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.PartSize == 0 {
		cfg.PartSize = 5 << 20
	}
	if cfg.Growth == 0 {
		cfg.Growth = 2500
	}
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "":
		return nil, fault.New(fault.Invalid, "s3: endpoint is not a URL such as https://s3.example.org")
	case u.User != nil:
		return nil, fault.New(fault.Invalid, "s3: endpoint must not hold a name or password")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fault.New(fault.Invalid, "s3: endpoint is http: names and sizes of blobs would cross the network in clear").WithHint("use https")
	case s3utils.CheckValidBucketName(cfg.Bucket) != nil:
		return nil, fault.New(fault.Invalid, "s3: bucket %q cannot be the name of one", cfg.Bucket)
	case cfg.AccessKey == "" || cfg.SecretKey == "":
		return nil, fault.New(fault.Invalid, "s3: access_key or secret_key is missing")
	case cfg.Deployment == "" || strings.Contains(cfg.Deployment, "/"):
		return nil, fault.New(fault.Internal, "s3: the deployment's id is missing")
	case cfg.PartSize < 5<<20 || cfg.Growth < 0:
		return nil, fault.New(fault.Internal, "s3: parts of %d bytes that grow after %d cannot be", cfg.PartSize, cfg.Growth)
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (cfg *Config) transport(secure bool) (*http.Transport, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil || cfg.CAFile == "" {
		return t, err
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fault.New(fault.Invalid, "s3: ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, "s3: ca_file %s holds no certificate", cfg.CAFile)
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return t, nil
}

func (s *Store) folder(tenant string) string { return s.prefix + blob.Folder(tenant) + "/" }

func (s *Store) name(tenant string, id blob.ID) string { return s.folder(tenant) + id.String() }

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, tenant string, id blob.ID) (blob.Reader, error) {
	name := s.name(tenant, id)
	size, err := s.stat(ctx, name)
	if err != nil {
		return nil, failed("open", id, err)
	}
	return &reader{ctx: ctx, store: s, id: id, name: name, size: size}, nil
}

// stat returns the length of an object.
func (s *Store) stat(ctx context.Context, name string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := s.core.StatObject(ctx, s.bucket, name, minio.StatObjectOptions{})
	return info.Size, err
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, tenant string, id blob.ID) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := s.core.RemoveObject(ctx, s.bucket, s.name(tenant, id), minio.RemoveObjectOptions{})
	if err = failed("delete", id, err); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, tenant string, after blob.ID, limit int) (ids []blob.ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel() // ends the listing, whose channel is not read to its end
	folder := s.folder(tenant)
	objects := s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{
		Prefix: folder, StartAfter: folder + after.String(), MaxKeys: min(limit, 1000), Recursive: true,
	})
	for object := range objects {
		if object.Err != nil {
			return nil, failed("list blobs after", after, object.Err)
		}
		// An object that we would not have put there is not ours to delete as garbage.
		if id, err := blob.ParseID(strings.TrimPrefix(object.Key, folder)); err == nil {
			ids = append(ids, id)
		}
		if len(ids) == limit {
			break
		}
	}
	return ids, nil
}

// Sweep implements blob.Sweeper.
func (s *Store) Sweep(ctx context.Context) error {
	left, err := s.unfinished(ctx)
	for i := 0; err == nil && i < len(left); i++ {
		if !s.isLive(left[i].Key) {
			err = s.abort(ctx, left[i].Key, left[i].UploadID)
		}
	}
	return failed("sweep uploads before", blob.ID{}, err)
}

// unfinished lists all multipart uploads of this deployment.
func (s *Store) unfinished(ctx context.Context) (left []minio.ObjectMultipartInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for upload := range s.core.ListIncompleteUploads(ctx, s.bucket, s.prefix, true) {
		if upload.Err != nil {
			return nil, upload.Err
		}
		left = append(left, upload)
	}
	return left, nil
}

// abort ends a multipart upload; one that is not there is no error.
func (s *Store) abort(ctx context.Context, name, upload string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := s.core.AbortMultipartUpload(ctx, s.bucket, name, upload)
	if err != nil && code(err) == codeNoUpload {
		return nil
	}
	return err
}

func (s *Store) isLive(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[name]
}

// begin has Sweep spare the uploads of a name; false: it is being written already.
func (s *Store) begin(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[name] {
		return false
	}
	s.live[name] = true
	return true
}

func (s *Store) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, name)
}

// Codes of errors, as S3 and its likes give them.
const codeNoUpload = "NoSuchUpload"

func code(err error) string { return minio.ToErrorResponse(err).Code }

// failed gives an error of the service its kind; nil stays nil.
func failed(verb string, id blob.ID, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	answer := minio.ToErrorResponse(err)
	switch answer.Code {
	case "NoSuchKey":
		return blob.NotFound(id)
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "EntityTooLarge":
		return blob.Full(id, err)
	case "NoSuchBucket":
		return fault.New(fault.Unavailable, "%s blob %s: the S3 service has no such bucket", verb, id).WithCause(err).
			WithHint("make the bucket, without versions of objects; correct the setting s3")
	}
	switch answer.StatusCode {
	case http.StatusInsufficientStorage:
		return blob.Full(id, err)
	case http.StatusForbidden, http.StatusUnauthorized:
		return fault.New(fault.Unavailable, "%s blob %s: the S3 service refuses our key (%s)", verb, id, answer.Code).WithCause(err).
			WithCode("storage_denied").WithHint("the key needs to read, write, delete and list objects and uploads in the bucket")
	}
	return fault.New(fault.Unavailable, "%s blob %s: the S3 service failed", verb, id).WithCause(err)
}
