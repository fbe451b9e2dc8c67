package cache

import (
	"net/http"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Answer is JSON as it is sent. It is shared by all who ask for it, and so is
// never changed.
type Answer struct {
	body []byte
	// tag names the body, quoted as in RFC 9110. It and length are the values
	// of headers, so that who sends the answer again makes none.
	tag, length []string
}

// NewAnswer is an answer with this body, which it keeps.
func NewAnswer(body []byte) *Answer {
	return &Answer{
		body:   body,
		tag:    []string{`"` + strconv.FormatUint(xxhash.Sum64(body), 36) + `"`},
		length: []string{strconv.Itoa(len(body))},
	}
}

var jsonType = []string{"application/json; charset=utf-8"}

// ServeHTTP sends the answer, or 304 to who has it.
func (a *Answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Etag"] = a.tag
	if match := r.Header.Get("If-None-Match"); match != "" && (match == a.tag[0] || match == "W/"+a.tag[0]) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"], h["Content-Length"] = jsonType, a.length
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(a.body) // the caller may have gone
}
