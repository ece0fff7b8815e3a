package s3test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/blob"
)

// Fake answers the requests of a store like an S3 service, from memory. It is a
// fake: it believes signatures, knows nothing else of S3 and forgives little.
// test/s3 runs the same tests against a real service.
type Fake struct {
	AccessKey string // what requests must be signed with

	mu      sync.Mutex // guards what follows
	objects map[string][]byte
	uploads map[string]*upload // by id
}

type upload struct {
	key   string
	parts map[int][]byte
}

// ServeHTTP implements http.Handler.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.objects == nil {
		f.objects, f.uploads = map[string][]byte{}, map[string]*upload{}
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if code := f.refuse(r, key, body); code != "" {
		answerError(w, http.StatusForbidden, code)
		return
	}
	switch query := r.URL.Query(); {
	case key == "" && r.Method == http.MethodPut: // a new bucket
	case key == "" && query.Has("uploads"):
		f.listUploads(w, query.Get("prefix"))
	case key == "":
		f.list(w, query.Get("prefix"), query.Get("start-after"), query.Get("max-keys"))
	case query.Has("uploads") || query.Has("uploadId"):
		f.multipart(w, r, bucket, key, body)
	default:
		f.object(w, r, key, body)
	}
}

// refuse checks who signed, and that the bytes of blobs are those that were signed.
func (f *Fake) refuse(r *http.Request, key string, body []byte) (code string) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+f.AccessKey+"/") {
		return "InvalidAccessKeyId"
	}
	signed := r.Header.Get("X-Amz-Content-Sha256")
	if signed == "UNSIGNED-PAYLOAD" && (r.Method != http.MethodPut || key == "") {
		return ""
	}
	if sum := sha256.Sum256(body); signed != hex.EncodeToString(sum[:]) {
		return "XAmzContentSHA256Mismatch"
	}
	return ""
}

func (f *Fake) object(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	data, found := f.objects[key]
	switch {
	case r.Method == http.MethodPut:
		f.objects[key] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case !found:
		answerError(w, http.StatusNotFound, "NoSuchKey")
	default: // GET and HEAD, with ranges
		w.Header().Set("ETag", etag(data))
		http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(data))
	}
}

func (f *Fake) multipart(w http.ResponseWriter, r *http.Request, bucket, key string, body []byte) {
	query := r.URL.Query()
	if query.Has("uploads") {
		id := blob.NewID().String()
		f.uploads[id] = &upload{key, map[int][]byte{}}
		answer(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: id})
		return
	}
	id := query.Get("uploadId")
	u := f.uploads[id]
	switch {
	case u == nil || u.key != key:
		answerError(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodPut:
		number, _ := strconv.Atoi(query.Get("partNumber"))
		u.parts[number] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == http.MethodDelete:
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.complete(w, bucket, id, body)
	}
}

// complete puts the named parts together. All but the last are at least 5 MiB.
func (f *Fake) complete(w http.ResponseWriter, bucket, id string, body []byte) {
	var wanted struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(body, &wanted); err != nil || len(wanted.Part) == 0 {
		answerError(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	u := f.uploads[id]
	var data []byte
	for i, part := range wanted.Part {
		content, found := u.parts[part.PartNumber]
		switch {
		case !found || strings.Trim(part.ETag, `"`) != strings.Trim(etag(content), `"`):
			answerError(w, http.StatusBadRequest, "InvalidPart")
			return
		case i < len(wanted.Part)-1 && len(content) < PartSize:
			answerError(w, http.StatusBadRequest, "EntityTooSmall")
			return
		}
		data = append(data, content...)
	}
	f.objects[u.key] = data
	delete(f.uploads, id)
	answer(w, struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket  string
		Key     string
		ETag    string
	}{Bucket: bucket, Key: u.key, ETag: etag(data)})
}

type listed struct {
	Key          string
	Size         int
	LastModified string
}

func (f *Fake) list(w http.ResponseWriter, prefix, after, limit string) {
	n, err := strconv.Atoi(limit)
	if err != nil {
		n = 1000
	}
	var all []listed
	for key, data := range f.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			all = append(all, listed{key, len(data), "2026-01-01T00:00:00.000Z"})
		}
	}
	slices.SortFunc(all, func(a, b listed) int { return strings.Compare(a.Key, b.Key) })
	page := all[:min(n, len(all))]
	result := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []listed
	}{IsTruncated: len(page) < len(all), Contents: page}
	if result.IsTruncated {
		result.NextContinuationToken = page[len(page)-1].Key
	}
	answer(w, result)
}

func (f *Fake) listUploads(w http.ResponseWriter, prefix string) {
	type pending struct{ Key, UploadId string }
	var all []pending
	for id, u := range f.uploads {
		if strings.HasPrefix(u.key, prefix) {
			all = append(all, pending{u.key, id})
		}
	}
	answer(w, struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []pending
	}{Upload: all})
}

func etag(data []byte) string {
	sum := sha256.Sum256(data)
	return fmt.Sprintf(`"%x"`, sum[:16])
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(body) // the client may be gone
}

func answerError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code></Error>`, code)
}
