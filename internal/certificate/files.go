package certificate

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Files are a certificate chain and its private key, in PEM. Both may be replaced at any
// time, in either order: while they do not fit each other, or the new certificate is not
// valid now, the former pair is used and the log says why.
type Files struct {
	config FilesConfig

	mu      sync.Mutex // guards what follows
	current *tls.Certificate
	looked  time.Time
	seen    [sha256.Size]byte // of what was found when looking last
}

// FilesConfig names the files.
type FilesConfig struct {
	Chain, Key string       // paths
	Log        *slog.Logger // default: nothing is logged
	Now        func() time.Time
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// OpenFiles reads both files.
func OpenFiles(c FilesConfig) (*Files, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	f := &Files{config: c, looked: c.Now()}
	chain, key, err := f.read()
	if err != nil {
		return nil, err
	}
	f.seen = print(chain, key)
	if f.current, err = parse(chain, key); err != nil {
		return nil, err
	}
	if err := f.validNow(f.current); err != nil {
		c.Log.Warn("clients will refuse the server's certificate", "file", c.Chain, "error", err)
	}
	return f, nil
}

// Get is a Source. It looks at the files when they were not looked at for a second.
func (f *Files) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.config.Now(); now.Sub(f.looked) >= lookEvery || now.Before(f.looked) {
		f.looked = now
		f.look()
	}
	return f.current, nil
}

// look takes a new pair if there is one. Of each pair that is no good it says so once.
func (f *Files) look() {
	chain, key, err := f.read()
	found := print(chain, key)
	if found == f.seen {
		return
	}
	f.seen = found
	var pair *tls.Certificate
	if err == nil {
		pair, err = parse(chain, key)
	}
	if err == nil {
		err = f.validNow(pair)
	}
	if err != nil {
		f.config.Log.Warn("the new certificate cannot be used; the former one stays", "file", f.config.Chain, "error", err)
		return
	}
	f.current = pair
	f.config.Log.Info("the server has a new certificate", "file", f.config.Chain, "until", pair.Leaf.NotAfter)
}

func (f *Files) read() (chain, key []byte, err error) {
	if chain, err = os.ReadFile(f.config.Chain); err == nil {
		key, err = os.ReadFile(f.config.Key)
	}
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "read the certificate: %w", err).WithCode("config_invalid")
	}
	return chain, key, nil
}

func (f *Files) validNow(pair *tls.Certificate) error {
	now, leaf := f.config.Now(), pair.Leaf
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("it is valid from %s to %s", leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func parse(chain, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "load the certificate: %w", err).WithCode("config_invalid")
	}
	return &pair, nil
}

// print tells one pair of files from another.
func print(chain, key []byte) [sha256.Size]byte {
	a, b := sha256.Sum256(chain), sha256.Sum256(key)
	return sha256.Sum256(append(a[:], b[:]...))
}
