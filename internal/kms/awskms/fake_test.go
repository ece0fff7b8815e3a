package awskms_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/underseal/underseal/internal/kms/awskms"
	"github.com/underseal/underseal/internal/kms/cloudkey/cloudtest"
)

const (
	region      = "eu-central-1"
	host        = "kms." + region + ".amazonaws.com"
	accessKeyID = "AKIAIOSFODNN7EXAMPLE"
	secretKey   = "the secret of a test, forty letters long"
)

// A fake answers as AWS KMS does: it is no AWS, and shows only that requests
// are signed and formed as documented. It recomputes each signature and really
// encrypts, with the encryption context as the additional data.
type fake struct {
	*cloudtest.Cloud

	mu       sync.Mutex // guards what follows
	keys     map[string]*fakeKey
	contexts []map[string]string // that came in
}

// A fakeKey is one key with the backing keys of its rotations.
type fakeKey struct {
	state   string
	backing [][]byte
}

func newFake(t *testing.T) *fake {
	f := &fake{keys: map[string]*fakeKey{}}
	f.Cloud = cloudtest.New(t, http.HandlerFunc(f.serve), host)
	return f
}

// addKey makes a key and returns its ARN.
func (f *fake) addKey() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	arn := fmt.Sprintf("arn:aws:kms:%s:111122223333:key/1234abcd-12ab-34cd-56ef-%012d", region, len(f.keys))
	f.keys[arn] = &fakeKey{state: "Enabled"}
	f.keys[arn].rotate()
	return arn
}

func (k *fakeKey) rotate() {
	backing := make([]byte, 32)
	rand.Read(backing)
	k.backing = append(k.backing, backing)
}

// change changes a key; nil deletes it.
func (f *fake) change(arn string, edit func(*fakeKey)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if edit == nil {
		delete(f.keys, arn)
		return
	}
	edit(f.keys[arn])
}

func (f *fake) config(arn string) awskms.Config {
	return awskms.Config{Key: arn, AccessKeyID: accessKeyID, Secret: secret(secretKey), Transport: f.Transport()}
}

// refuse answers with an error of the API.
func refuse(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Errortype", code)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":%q,"message":"as the fake says"}`, code)
	}
}

// A request holds the members of the operations that the fake knows.
type request struct {
	KeyID             string `json:"KeyId"`
	Plaintext         []byte
	CiphertextBlob    []byte
	EncryptionContext map[string]string
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if err := checkSignature(r, body); err != nil {
		refuse(http.StatusBadRequest, "InvalidSignatureException")(w, r)
		return
	}
	var in request
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || json.Unmarshal(body, &in) != nil {
		refuse(http.StatusBadRequest, "SerializationException")(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := f.keys[in.KeyID]
	if key == nil {
		refuse(http.StatusBadRequest, "NotFoundException")(w, r)
		return
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if operation != "DescribeKey" {
		f.contexts = append(f.contexts, in.EncryptionContext)
	}
	out, code := key.answer(operation, in)
	if code != "" {
		refuse(http.StatusBadRequest, code)(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
}

func (k *fakeKey) answer(operation string, in request) (out map[string]any, code string) {
	switch {
	case operation == "DescribeKey":
		return map[string]any{"KeyMetadata": map[string]any{"Arn": in.KeyID, "KeyId": in.KeyID, "KeyState": k.state}}, ""
	case k.state == "Disabled":
		return nil, "DisabledException"
	case k.state != "Enabled":
		return nil, "KMSInvalidStateException"
	case operation == "Encrypt":
		return map[string]any{"CiphertextBlob": k.encrypt(in), "KeyId": in.KeyID}, ""
	case operation == "Decrypt":
		return k.decrypt(in)
	}
	return nil, "UnknownOperationException"
}

// A blob is the digest of the key's ARN, the number of its backing key, and
// what AES-GCM made.
func (k *fakeKey) encrypt(in request) []byte {
	n := len(k.backing) - 1
	arn := sha256.Sum256([]byte(in.KeyID))
	return k.cipher(n).Seal(append(arn[:8:8], byte(n)), nil, in.Plaintext, additional(in))
}

func (k *fakeKey) decrypt(in request) (out map[string]any, code string) {
	arn := sha256.Sum256([]byte(in.KeyID))
	if len(in.CiphertextBlob) < 9 || int(in.CiphertextBlob[8]) >= len(k.backing) {
		return nil, "InvalidCiphertextException"
	}
	if !bytes.Equal(in.CiphertextBlob[:8], arn[:8]) {
		return nil, "IncorrectKeyException"
	}
	plaintext, err := k.cipher(int(in.CiphertextBlob[8])).Open(nil, nil, in.CiphertextBlob[9:], additional(in))
	if err != nil {
		return nil, "InvalidCiphertextException"
	}
	return map[string]any{"Plaintext": plaintext, "KeyId": in.KeyID}, ""
}

func (k *fakeKey) cipher(n int) cipher.AEAD {
	block, err := aes.NewCipher(k.backing[n])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// additional is the encryption context; JSON sorts its names.
func additional(in request) []byte {
	text, err := json.Marshal(in.EncryptionContext)
	if err != nil {
		panic(err)
	}
	return text
}

// checkSignature recomputes the signature of AWS Signature Version 4
// ("Create a signed AWS API request" in the IAM User Guide).
func checkSignature(r *http.Request, body []byte) error {
	fields := map[string]string{}
	algorithm, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for field := range strings.SplitSeq(rest, ", ") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	time := r.Header.Get("X-Amz-Date")
	if algorithm != "AWS4-HMAC-SHA256" || len(time) != 16 {
		return fmt.Errorf("algorithm %q, time %q", algorithm, time)
	}
	scope := time[:8] + "/" + region + "/kms/aws4_request"
	if fields["Credential"] != accessKeyID+"/"+scope {
		return fmt.Errorf("credential %q", fields["Credential"])
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	for _, needed := range []string{"host", "x-amz-date", "x-amz-target"} {
		if !slices.Contains(names, needed) {
			return fmt.Errorf("%s is not signed", needed)
		}
	}
	var headers strings.Builder
	for _, name := range names {
		headers.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	canonical := strings.Join([]string{r.Method, "/", "", headers.String(), fields["SignedHeaders"], hexDigest(body)}, "\n")
	key := []byte("AWS4" + secretKey)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	want := hex.EncodeToString(mac(key, strings.Join([]string{algorithm, time, scope, hexDigest([]byte(canonical))}, "\n")))
	if !hmac.Equal([]byte(want), []byte(fields["Signature"])) {
		return fmt.Errorf("signature %q", fields["Signature"])
	}
	return nil
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return fmt.Sprint(r.ContentLength)
	}
	return strings.TrimSpace(r.Header.Get(name))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// seen returns the encryption contexts that came in.
func (f *fake) seen() []map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]map[string]string, len(f.contexts))
	for i, c := range f.contexts {
		all[i] = maps.Clone(c)
	}
	return all
}
