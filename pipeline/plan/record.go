package plan

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// recordForm opens the binary form of a Record. The number moves with the form.
const recordForm = "slugfile record 1\n"

// errRecord says that bytes are not a record that this version understands.
var errRecord = errors.New("not a record of a slug")

// recordHead is the small part of a Record, which is kept in JSON.
type recordHead struct {
	Key      digest.Digest   `json:"key"`
	Stack    string          `json:"stack,omitempty"`
	Runtimes []RuntimeRecord `json:"runtimes"`
	Steps    []StepRecord    `json:"steps"`
	Size     int64           `json:"size"`
}

// MarshalBinary is the form in which the store keeps a record: the small part in JSON, then
// both trees in their binary form, each with its length before it, then Parts, equal
// neighbours counted.
func (r *Record) MarshalBinary() ([]byte, error) {
	head, err := json.Marshal(recordHead{Key: r.Key, Stack: r.Stack, Runtimes: r.Runtimes, Steps: r.Steps, Size: r.Size})
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(recordForm)+len(head)+64*(len(r.Tree)+len(r.Source))+64)
	b = append(b, recordForm...)
	b = append(binary.AppendUvarint(b, uint64(len(head))), head...)
	for _, m := range []interface {
		AppendBinary([]byte) ([]byte, error)
	}{r.Tree, r.Source} {
		// The length is known last and its room comes first, so that nothing is moved.
		at := len(b)
		if b, err = m.AppendBinary(append(b, make([]byte, 8)...)); err != nil {
			return nil, err
		}
		binary.LittleEndian.PutUint64(b[at:], uint64(len(b)-at-8))
	}
	for i := 0; i < len(r.Parts); {
		n := 1
		for i+n < len(r.Parts) && r.Parts[i+n] == r.Parts[i] {
			n++
		}
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendVarint(b, int64(r.Parts[i]))
		i += n
	}
	return b, nil
}

// UnmarshalBinary reads what MarshalBinary writes. Anything else is an error, also the form of
// another version: who meets it does as if there were no record.
func (r *Record) UnmarshalBinary(b []byte) error {
	b, ok := bytes.CutPrefix(b, []byte(recordForm))
	if !ok {
		return errRecord
	}
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return errRecord
	}
	var head recordHead
	if err := json.Unmarshal(b[used:used+int(n)], &head); err != nil {
		return errRecord
	}
	b = b[used+int(n):]
	out := Record{Key: head.Key, Stack: head.Stack, Runtimes: head.Runtimes, Steps: head.Steps, Size: head.Size}
	for _, m := range []interface{ UnmarshalBinary([]byte) error }{&out.Tree, &out.Source} {
		if len(b) < 8 {
			return errRecord
		}
		n := binary.LittleEndian.Uint64(b)
		if b = b[8:]; n > uint64(len(b)) {
			return errRecord
		}
		if err := m.UnmarshalBinary(b[:n]); err != nil {
			return errRecord
		}
		b = b[n:]
	}
	out.Parts = make([]int, 0, len(out.Tree))
	for len(b) > 0 {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(out.Tree)-len(out.Parts)) {
			return errRecord
		}
		part, more := binary.Varint(b[used:])
		if more <= 0 {
			return errRecord
		}
		for range n {
			out.Parts = append(out.Parts, int(part))
		}
		b = b[used+more:]
	}
	*r = out
	return nil
}
