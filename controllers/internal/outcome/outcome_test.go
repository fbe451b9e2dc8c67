package outcome_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/controllers/internal/outcome"
)

func TestATypedFailureIsFoundWithinAnother(t *testing.T) {
	err := fmt.Errorf("applying: %w", errors.Join(errors.New("first"), outcome.Waiting("Progressing", time.Second, "%d of %d", 1, 2)))
	e, ok := outcome.As(err)
	if !ok || e.Terminal || e.After != time.Second || e.Error() != "Progressing: 1 of 2" {
		t.Errorf("found %+v, %t", e, ok)
	}
	if _, ok := outcome.As(errors.New("plain")); ok {
		t.Error("a plain error was taken for a typed one")
	}
}
