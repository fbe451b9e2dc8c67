package cache

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// Answer is JSON as it is sent, plain or compressed. It is shared by all who ask
// for it, and so is never changed, save that a form that was asked for is
// there from then on.
type Answer struct {
	body []byte
	// hash names the body, and is the beginning of all forms' ETags.
	hash  string
	plain form
	// room is how many bytes the compressed forms may take together, 0 where
	// there are none.
	room  int
	taken atomic.Int64
	forms [len(encodings)]atomic.Pointer[form]
}

// form is the body in one encoding. Header values are made once, so that who
// sends it makes none.
type form struct {
	body                  []byte
	tag, length, encoding []string
}

// worthwhile is how many bytes a body has that is sent compressed.
const worthwhile = 1 << 10

// NewAnswer is an answer that is sent to few, with this body, which it keeps.
// It is sent plain only.
func NewAnswer(body []byte) *Answer {
	hash := strconv.FormatUint(xxhash.Sum64(body), 36)
	return &Answer{body: body, hash: hash, plain: form{
		body: body, tag: []string{`"` + hash + `"`}, length: []string{strconv.Itoa(len(body))},
	}}
}

// newKept is one that is sent to many, compressed where that is worth it.
func newKept(body []byte) *Answer {
	a := NewAnswer(body)
	if len(body) > worthwhile {
		a.room = len(body)
	}
	return a
}

var (
	jsonType = []string{"application/json; charset=utf-8"}
	// varies is never appended to: it has no room.
	varies = []string{"Accept-Encoding"}
)

// ServeHTTP sends the answer in the form that the request asks for, or 304 to
// who has it.
func (a *Answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, f := w.Header(), &a.plain
	if a.room > 0 {
		if before, ok := h["Vary"]; ok {
			h["Vary"] = append(before, varies[0])
		} else {
			h["Vary"] = varies
		}
		f = a.form(accepted(r.Header["Accept-Encoding"]))
	}
	if have := r.Header["If-None-Match"]; have != nil {
		if tag := a.had(have); tag != nil {
			h["Etag"] = tag
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h["Etag"], h["Content-Type"], h["Content-Length"] = f.tag, jsonType, f.length
	if f.encoding != nil {
		h["Content-Encoding"] = f.encoding
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(f.body) // the caller may have gone
}

// had is the tag of a form that the sender of If-None-Match has, nil for none.
// Whichever it is, it is the answer of now.
func (a *Answer) had(headers []string) []string {
	for _, header := range headers {
		for one := range strings.SplitSeq(header, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == "*" || one == a.plain.tag[0] {
				return a.plain.tag
			}
			if len(one) < 2 || !strings.HasPrefix(one[1:], a.hash) {
				continue
			}
			for i := range encodings {
				if one == a.tagOf(i) {
					return []string{one}
				}
			}
		}
	}
	return nil
}

// tagOf is the ETag of a form: other bytes, another tag.
func (a *Answer) tagOf(encoding int) string {
	return `"` + a.hash + "-" + encodings[encoding].name + `"`
}

// form is the one in an encoding, or the plain one where that is none or
// takes too much. What two ask for first at once is made twice, and kept once.
func (a *Answer) form(encoding int) *form {
	if encoding < 0 {
		return &a.plain
	}
	if f := a.forms[encoding].Load(); f != nil {
		return f
	}
	body := encodings[encoding].compress(a.body)
	f := &form{
		body: body, tag: []string{a.tagOf(encoding)}, length: []string{strconv.Itoa(len(body))}, encoding: []string{encodings[encoding].name},
	}
	if size := int64(len(body)); a.taken.Add(size) > int64(a.room) {
		a.taken.Add(-size)
		f = &a.plain
	}
	if !a.forms[encoding].CompareAndSwap(nil, f) && f != &a.plain {
		a.taken.Add(-int64(len(body)))
	}
	return a.forms[encoding].Load()
}
