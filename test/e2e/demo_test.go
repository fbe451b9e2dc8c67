//go:build e2e

package e2e

import (
	"os/exec"
	"testing"
)

// The demonstrations that users are given, on the demo store that make e2e made.
// They share its limits for this machine's address: one goes after the other.
func TestDemonstrationsPass(t *testing.T) {
	t.Parallel()
	for _, script := range []string{
		"test_complete_system.sh", "test_rate_limit.sh", "test_websocket.sh", "test_jobs.sh", "test_caching.sh", "test_order_flow.sh",
	} {
		out, err := exec.CommandContext(t.Context(), "../../hack/demo/"+script).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}
