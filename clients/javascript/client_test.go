// Package javascript_test has the client's own tests run with those of Go.
package javascript_test

import (
	"os/exec"
	"testing"
)

func TestTheClient(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("NOTHING WAS TESTED: node is not installed (Debian's package nodejs)")
	}
	if out, err := exec.CommandContext(t.Context(), node, "--test").CombinedOutput(); err != nil {
		t.Errorf("node --test: %v\n%s", err, out)
	}
}
