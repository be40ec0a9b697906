package provenance

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// PayloadType is the type of an in-toto statement in an envelope.
const PayloadType = "application/vnd.in-toto+json"

// MaxSize is how large a document with a statement may be, in bytes: a hundred times what
// slugfile writes.
const MaxSize = 4 << 20

// envelope is DSSE's. The payload is base64 of the very bytes that were signed.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// pae is what is signed: type and payload, each with its length, so that no other pair of them
// gives the same bytes.
func pae(payloadType string, payload []byte) []byte {
	b := []byte("DSSEv1 ")
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(append(append(b, ' '), payloadType...), ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	return append(append(b, ' '), payload...)
}

// Seal signs a statement and returns the envelope as a document.
func Seal(s Statement, key *PrivateKey) ([]byte, error) {
	payload, err := s.Text()
	if err != nil {
		return nil, err
	}
	e := envelope{
		PayloadType: PayloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures: []signature{{
			KeyID: key.Public().ID(),
			Sig:   base64.StdEncoding.EncodeToString(ed25519.Sign(key.key, pae(PayloadType, payload))),
		}},
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write provenance: %w", err)
	}
	return append(b, '\n'), nil
}

// SignatureError says that a signature is not one of the key over the bytes that stand there:
// one of the three is another than when it was made.
type SignatureError struct {
	// KeyID is of the key that was tried.
	KeyID string
}

func (e *SignatureError) Error() string {
	return "the signature does not fit the statement and key " + e.KeyID
}

// Mismatch says that the bytes are not those that were promised.
func (e *SignatureError) Mismatch() bool { return true }

// Open checks an envelope and returns the statement in it. It fails closed: whatever is
// missing, doubled, unknown or left over is an error, and nothing of the document is believed
// before the signature was checked. A signature that does not fit is a *SignatureError.
func Open(doc []byte, key PublicKey) (Statement, error) {
	e, err := parseEnvelope(doc)
	if err != nil {
		return Statement{}, err
	}
	payload, err := decode(e.Payload)
	if err != nil {
		return Statement{}, fmt.Errorf("its payload is not base64: %w", err)
	}
	if err := check(e, payload, key); err != nil {
		return Statement{}, err
	}
	return parseStatement(payload)
}

func parseEnvelope(doc []byte) (envelope, error) {
	var e envelope
	switch {
	case len(doc) > MaxSize:
		return e, fmt.Errorf("it has more than %d bytes", MaxSize)
	case len(bytes.TrimSpace(doc)) == 0:
		return e, errors.New("it is empty")
	}
	var bare struct {
		Type *string `json:"_type"`
	}
	if json.Unmarshal(doc, &bare) == nil && bare.Type != nil {
		return e, errors.New("it is not signed: anybody can have written it")
	}
	if err := strictly(doc, &e); err != nil {
		return e, fmt.Errorf("it is no envelope of a signed statement: %w", err)
	}
	switch {
	case e.PayloadType != PayloadType:
		return e, fmt.Errorf("its payload has the type %q, not %q", e.PayloadType, PayloadType)
	case e.Payload == "":
		return e, errors.New("it has no payload")
	case len(e.Signatures) == 0:
		return e, errors.New("it has no signature")
	}
	return e, nil
}

// strictly decodes one JSON value with the fields of v and no others, and nothing behind it.
func strictly(doc []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind it")
	}
	return nil
}

// check accepts the envelope when one of its signatures is of the key. Those of others may
// stand beside it.
func check(e envelope, payload []byte, key PublicKey) error {
	signed := pae(e.PayloadType, payload)
	var others []string
	tried := false
	for _, s := range e.Signatures {
		if s.KeyID != "" && s.KeyID != key.ID() {
			others = append(others, s.KeyID)
			continue
		}
		tried = true
		sig, err := decode(s.Sig)
		if err == nil && len(sig) == ed25519.SignatureSize && ed25519.Verify(key.key, signed, sig) {
			return nil
		}
	}
	if !tried {
		return fmt.Errorf("it is signed by key %.100q, not by %s", others[0], key.ID())
	}
	return &SignatureError{KeyID: key.ID()}
}

// decode reads both alphabets of base64, as DSSE asks of readers.
func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		if b, err := base64.URLEncoding.Strict().DecodeString(s); err == nil {
			return b, nil
		}
	}
	return b, err
}

func parseStatement(payload []byte) (Statement, error) {
	var s Statement
	// A later version may tell more: unknown fields are no fault of a signed statement.
	if err := json.Unmarshal(payload, &s); err != nil {
		return s, fmt.Errorf("what is signed is no statement: %w", err)
	}
	d := s.Predicate.BuildDefinition
	for _, f := range []struct{ what, is, want string }{
		{"the statement", s.Type, StatementType},
		{"the predicate", s.PredicateType, PredicateType},
		{"the build", d.BuildType, BuildType},
	} {
		if f.is != f.want {
			return s, fmt.Errorf("%s has the type %.100q, not %q", f.what, f.is, f.want)
		}
	}
	switch {
	case len(s.Subject) == 0:
		return s, errors.New("the statement is about nothing")
	case s.Predicate.RunDetails.Builder.ID != Builder:
		return s, fmt.Errorf("the builder is %.100q, not %q", s.Predicate.RunDetails.Builder.ID, Builder)
	case len(d.ResolvedDependencies) == 0:
		return s, errors.New("the statement does not say what the slug was made of")
	}
	return s, nil
}

// About reports an error unless the statement is about a slug with that digest: a
// *digest.MismatchError when it is about another one.
func (s Statement) About(slug digest.Digest) error {
	var other digest.Digest
	for _, r := range s.Subject {
		d, err := digest.Parse(r.Digest["sha256"])
		if err != nil || d.IsZero() {
			return fmt.Errorf("the statement does not say the sha256 of %.100q", r.Name)
		}
		if d == slug {
			return nil
		}
		other = d
	}
	return &digest.MismatchError{Subject: "slug", Want: other, Got: slug, WantSize: -1}
}
