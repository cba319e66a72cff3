package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	rootLife = 10 * 365 * 24 * time.Hour
	leafLife = 30 * 24 * time.Hour
	leafMost = 10_000 // certificates kept in memory
)

// Authority is the local CA: a root in two files, and server certificates made on demand and kept in memory only.
//
// They are made here rather than by Caddy's internal issuer because that one's certificates, once cached, would win
// over one that an Ingress brings later.
type Authority struct {
	root    *x509.Certificate
	rootPEM []byte
	key     *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// OpenAuthority reads the CA of the folder, or makes one if there is none.
func OpenAuthority(folder string) (*Authority, error) {
	certFile, keyFile := filepath.Join(folder, "root.crt"), filepath.Join(folder, "root.key")
	certPEM, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		// A key without a certificate is of an interrupted first start: nobody trusts it yet.
		if err := makeRoot(folder, certFile, keyFile); err != nil {
			return nil, fmt.Errorf("make a local CA in %s: %w", folder, err)
		}
		certPEM, err = os.ReadFile(certFile)
	}
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("the local CA has lost its key; remove %s to have a new CA made: %w", certFile, err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("local CA in %s: %w", folder, err)
	}
	key, is := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !is {
		return nil, fmt.Errorf("local CA in %s: the key is not an ECDSA key", folder)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("the local CA expired on %s; remove %s to have a new one made", pair.Leaf.NotAfter, folder)
	}
	return &Authority{root: pair.Leaf, rootPEM: certPEM, key: key, leaves: map[string]*tls.Certificate{}}, nil
}

// RootPEM is the root certificate, for others to trust.
func (a *Authority) RootPEM() string { return string(a.rootPEM) }

func makeRoot(folder, certFile, keyFile string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	now := time.Now()
	// Browsers tell authorities apart by name: the serial's start keeps two clusters of one machine apart.
	name := fmt.Sprintf("libre.sh local CA on %s (%x)", host, serial.Bytes()[:4])
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"libre.sh local cluster"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(rootLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The certificate last: where it is, the CA is whole.
	if err := writeFile(keyFile, "PRIVATE KEY", keyDER, 0o600); err != nil {
		return err
	}
	return writeFile(certFile, "CERTIFICATE", der, 0o644)
}

func writeFile(path, kind string, der []byte, mode os.FileMode) error {
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	err = pem.Encode(file, &pem.Block{Type: kind, Bytes: der})
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	return serial.SetBit(serial, 126, 1), nil // of full length, always
}

// Leaf returns a certificate for a host name or an IP address, renewed when a third of its life is left.
func (a *Authority) Leaf(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if leaf := a.leaves[name]; leaf != nil && time.Until(leaf.Leaf.NotAfter) > leafLife/3 {
		return leaf, nil
	}
	leaf, err := a.sign(name)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", name, err)
	}
	if len(a.leaves) >= leafMost {
		clear(a.leaves) // they cost a millisecond each to make again
	}
	a.leaves[name] = leaf
	return leaf, nil
}

func (a *Authority) sign(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{Organization: []string{"libre.sh local cluster"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if template.NotAfter.After(a.root.NotAfter) {
		template.NotAfter = a.root.NotAfter
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
