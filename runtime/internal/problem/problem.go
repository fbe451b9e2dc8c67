// Package problem is how an error looks to a caller of the API: RFC 9457
// problem+json with a stable code. A domain returns a *Problem as its error;
// the HTTP server alone writes it. Nothing in a Problem may hold a secret.
package problem

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Problem is an error with what a caller may know about it.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Code is a stable word for programs, such as product_not_found.
	Code      string  `json:"code"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"requestId,omitempty"`
	Errors    []Field `json:"errors,omitempty"`

	// RetryAfter, when above zero, is sent as the Retry-After header, in
	// seconds rounded up.
	RetryAfter time.Duration `json:"-"`
}

// Field is what is wrong with one part of a request.
type Field struct {
	// Pointer is a JSON pointer (RFC 6901) into the body, such as
	// /variants/0/sku, or the name of a parameter.
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// New makes a problem whose title is the status's own.
func New(status int, code, format string, args ...any) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: fmt.Sprintf(format, args...),
	}
}

// maxFields bounds an answer that names what is wrong with a long list.
const maxFields = 100

// Invalid is a 400 that names what is wrong: all of it, or the first 100.
func Invalid(fields ...Field) *Problem {
	p := New(http.StatusBadRequest, "invalid_request", "The request has invalid values.")
	p.Errors = fields[:min(len(fields), maxFields)]
	return p
}

// Error makes a Problem an error; it has the code and the detail.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Write answers with the problem under the request's id.
func (p *Problem) Write(w http.ResponseWriter, requestID string) {
	answer := *p
	answer.RequestID = requestID
	body, err := json.Marshal(answer)
	if err != nil { // strings and numbers always marshal
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the caller may have gone
}
