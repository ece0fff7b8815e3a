package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Development makes certificates for this machine, under an authority of its own that a
// developer has their programs trust. What the authority can sign for is written into
// it (name constraints, RFC 5280 section 4.2.1.10): if its key is stolen, it signs for
// this machine and for nothing else.
type Development struct {
	now   func() time.Time
	file  string
	hosts []string
	ca    *x509.Certificate
	key   crypto.Signer

	mu      sync.Mutex // guards what follows
	current *tls.Certificate
}

// How long what Development makes is valid. A leaf is never stored.
const (
	authorityLife = 365 * 24 * time.Hour
	leafLife      = 24 * time.Hour
	leafRenewal   = 8 * time.Hour // before its end
)

// The authority's files.
const (
	authorityFile    = "dev-ca.pem"
	authorityKeyFile = "dev-ca.key"
)

// OpenDevelopment reads the authority in a directory or makes it. It is for the given
// hosts, names or addresses, besides those of loopback.
func OpenDevelopment(dir string, hosts []string, now func() time.Time) (*Development, error) {
	if now == nil {
		now = time.Now
	}
	d := &Development{now: now, file: filepath.Join(dir, authorityFile), hosts: []string{"localhost", "127.0.0.1", "::1"}}
	for _, host := range hosts {
		if !slices.Contains(d.hosts, host) {
			d.hosts = append(d.hosts, host)
		}
	}
	err := d.read(filepath.Join(dir, authorityKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = d.create(dir)
	}
	if err == nil {
		err = d.check()
	}
	return d, err
}

// Authority is the path of the authority's certificate, for clients to trust.
func (d *Development) Authority() string { return d.file }

func (d *Development) read(keyFile string) error {
	certificate, err := os.ReadFile(d.file)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return unusable(d.file, err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return unusable(d.file, errors.New("it is no authority"))
	}
	d.ca, d.key = pair.Leaf, signer
	return nil
}

func unusable(file string, err error) error {
	return fault.New(fault.Invalid, "use the development authority %s: %w", file, err).WithCode("config_invalid").
		WithHint("move it away: another one is made, which has to be trusted anew")
}

// create makes the authority. The key comes first and alone never counts as one.
func (d *Development) create(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := d.now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Underseal development, this machine only"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true,
	}
	names, addresses := d.split()
	template.PermittedDNSDomains = names
	for _, a := range addresses {
		template.PermittedIPRanges = append(template.PermittedIPRanges, alone(a))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Unavailable, "make the development authority: %w", err)
	}
	err = errors.Join(replace(filepath.Join(dir, authorityKeyFile), "PRIVATE KEY", private),
		replace(d.file, "CERTIFICATE", der))
	if err != nil {
		return fault.New(fault.Unavailable, "make the development authority: %w", err)
	}
	d.key = key
	d.ca, err = x509.ParseCertificate(der)
	return err
}

// replace writes a file that only its owner may read.
func replace(path, kind string, data []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600)
}

// check tries whether clients that trust the authority would take its certificates.
func (d *Development) check() error {
	leaf, err := d.leaf()
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(d.ca)
	for _, host := range d.hosts {
		if net.ParseIP(host) != nil {
			host = "[" + host + "]" // as Verify takes addresses
		}
		_, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: d.now()})
		if err != nil {
			return unusable(d.file, err)
		}
	}
	return nil
}

// Get is a Source: it makes a leaf when there is none or the last one ends soon.
func (d *Development) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil && d.current.Leaf.NotAfter.Sub(d.now()) > leafRenewal {
		return d.current, nil
	}
	var err error
	d.current, err = d.leaf()
	return d.current, err
}

func (d *Development) leaf() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := d.now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: d.hosts[0]},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	template.DNSNames, template.IPAddresses = d.split()
	der, err := x509.CreateCertificate(rand.Reader, template, d.ca, key.Public(), d.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// split tells the names of the hosts from the addresses.
func (d *Development) split() (names []string, addresses []net.IP) {
	for _, host := range d.hosts {
		if ip := net.ParseIP(host); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, host)
		}
	}
	return names, addresses
}

// alone is the network of one address.
func alone(ip net.IP) *net.IPNet {
	if four := ip.To4(); four != nil {
		ip = four
	}
	bits := len(ip) * 8
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)}
}

// serial is a random number of 128 bits (RFC 5280 section 4.1.2.2 wants it unique and positive).
func serial() *big.Int {
	bytes := make([]byte, 16)
	rand.Read(bytes) // never fails
	bytes[0] = bytes[0]&0x7f | 0x40
	return new(big.Int).SetBytes(bytes)
}
