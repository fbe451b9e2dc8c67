// Package outcome types the ways in which a phase can fail, so that one place
// decides what follows: a Terminal failure stalls its Store until somebody
// changes something, a Waiting one is looked at again, any other error is
// retried with growing pauses.
package outcome

import (
	"errors"
	"fmt"
	"time"
)

// Error is a failure with a condition's reason and a message for people: what
// happened, to what, and what to do. It never holds a secret.
type Error struct {
	Reason  string
	Message string
	// Terminal: retrying changes nothing.
	Terminal bool
	// After is when to look again; zero leaves it to a watch.
	After time.Duration
}

func (e *Error) Error() string { return e.Reason + ": " + e.Message }

// Terminal is a failure that only a change by a person mends.
func Terminal(reason, format string, args ...any) error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...), Terminal: true}
}

// Waiting is for something that is on its way; it is looked at again when a
// watch tells of a change, and after the given time at the latest (0: never).
func Waiting(reason string, after time.Duration, format string, args ...any) error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...), After: after}
}

// As returns the typed failure within err, if there is one.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
