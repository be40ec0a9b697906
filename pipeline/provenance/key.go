package provenance

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"strings"
)

// PrivateKey signs. However it is printed, it shows the id of its public half.
type PrivateKey struct{ key ed25519.PrivateKey }

// Public is the half that others check with.
func (k *PrivateKey) Public() PublicKey {
	return PublicKey{append(ed25519.PublicKey(nil), k.key[ed25519.SeedSize:]...)}
}

func (k *PrivateKey) String() string { return "key " + k.Public().ID() }

// GoString is for %#v, which would show the key.
func (k *PrivateKey) GoString() string { return k.String() }

// MarshalText keeps the key out of documents.
func (k *PrivateKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// PublicKey checks signatures.
type PublicKey struct{ key ed25519.PublicKey }

// sshType names ed25519 in OpenSSH's formats: RFC 8709.
const sshType = "ssh-ed25519"

// ID is the fingerprint that "ssh-keygen -l" shows: "SHA256:" and base64.
func (k PublicKey) ID() string {
	sum := sha256.Sum256(k.wire())
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

func (k PublicKey) wire() []byte {
	return appendString(appendString(nil, []byte(sshType)), k.key)
}

func appendString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

var (
	errNoKey     = errors.New(`it holds no ed25519 private key: "openssl genpkey -algorithm ed25519" or "ssh-keygen -t ed25519" makes one`)
	errEncrypted = errors.New("it is protected by a passphrase, which slugfile does not ask for: use a key without one, kept as a secret of its own")
	errTrailing  = errors.New("there is something behind the key")
	errNoPublic  = errors.New(`it holds no ed25519 public key: "openssl pkey -pubout" and "ssh-keygen -y" print the public half of a private key`)
)

// ParsePrivateKey reads an ed25519 key: PKCS#8 in PEM, or OpenSSH's format without a
// passphrase. No error shows what the text holds.
func ParsePrivateKey(text []byte) (*PrivateKey, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errNoKey
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errTrailing
	case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["Proc-Type"] != "":
		return nil, errEncrypted
	case block.Type == "OPENSSH PRIVATE KEY":
		return parseOpenSSH(block.Bytes)
	case block.Type != "PRIVATE KEY":
		return nil, errNoKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errNoKey
	}
	return &PrivateKey{key}, nil
}

// magicOpenSSH opens the format of openssh/PROTOCOL.key.
const magicOpenSSH = "openssh-key-v1\x00"

// fields reads what OpenSSH writes: numbers of 32 bits, and strings behind their length.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) number() uint32 {
	if f.bad || len(f.b) < 4 {
		f.bad = true
		return 0
	}
	n := binary.BigEndian.Uint32(f.b)
	f.b = f.b[4:]
	return n
}

func (f *fields) bytes() []byte {
	n := f.number()
	if f.bad || uint64(n) > uint64(len(f.b)) {
		f.bad = true
		return nil
	}
	s := f.b[:n]
	f.b = f.b[n:]
	return s
}

func parseOpenSSH(b []byte) (*PrivateKey, error) {
	b, ok := bytes.CutPrefix(b, []byte(magicOpenSSH))
	if !ok {
		return nil, errNoKey
	}
	f := fields{b: b}
	cipher, kdf := string(f.bytes()), string(f.bytes())
	f.bytes() // options of the kdf
	count := f.number()
	public := f.bytes()
	secret := fields{b: f.bytes()}
	switch {
	case f.bad || count != 1 || len(f.b) > 0:
		return nil, errNoKey
	case cipher != "none" || kdf != "none":
		return nil, errEncrypted
	}
	check := secret.number()
	same := secret.number() == check
	kind := string(secret.bytes())
	if secret.bad || !same || kind != sshType {
		return nil, errNoKey
	}
	pub, pair := secret.bytes(), secret.bytes()
	secret.bytes() // the comment; what follows is padding
	if secret.bad || len(pair) != ed25519.PrivateKeySize {
		return nil, errNoKey
	}
	// The public half stands there three times; a pair that is none would give signatures that
	// tell the key.
	key := ed25519.NewKeyFromSeed(pair[:ed25519.SeedSize])
	made := &PrivateKey{key}
	if !bytes.Equal(key, pair) || !bytes.Equal(pub, key[ed25519.SeedSize:]) || !bytes.Equal(public, made.Public().wire()) {
		return nil, errNoKey
	}
	return made, nil
}

// ParsePublicKey reads an ed25519 public key: PEM as openssl writes it, or one line as in
// OpenSSH's .pub files.
func ParsePublicKey(text []byte) (PublicKey, error) {
	if block, rest := pem.Decode(text); block != nil {
		switch {
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return PublicKey{}, errors.New("it is a private key: keep it to yourself, and give its public half to whoever verifies")
		case len(bytes.TrimSpace(rest)) > 0:
			return PublicKey{}, errTrailing
		case block.Type != "PUBLIC KEY":
			return PublicKey{}, errNoPublic
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return PublicKey{}, errNoPublic
		}
		return PublicKey{key}, nil
	}
	var found []PublicKey
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != sshType {
			return PublicKey{}, errNoPublic
		}
		wire, err := base64.StdEncoding.DecodeString(words[1])
		f := fields{b: wire}
		kind, key := string(f.bytes()), f.bytes()
		if err != nil || f.bad || len(f.b) > 0 || kind != sshType || len(key) != ed25519.PublicKeySize {
			return PublicKey{}, errNoPublic
		}
		found = append(found, PublicKey{key})
	}
	switch len(found) {
	case 0:
		return PublicKey{}, errNoPublic
	case 1:
		return found[0], nil
	}
	return PublicKey{}, errors.New("it holds several keys: give the one that must have signed")
}
