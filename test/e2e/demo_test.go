//go:build e2e

package e2e

import (
	"os/exec"
	"testing"
)

// The demonstration that users are given, on the demo store that make e2e made.
func TestCompleteSystemDemonstrationPasses(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "../../hack/demo/test_complete_system.sh").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
