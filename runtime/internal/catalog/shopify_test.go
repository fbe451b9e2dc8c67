package catalog

import "testing"

func TestMoneyIsComparedAsMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		not  bool
	}{
		{"10.00", "9.99", false}, {"9.99", "10.00", true}, {"10", "10.00", true}, {"90071992547409.93", "90071992547409.92", false},
		{"a lot", "1.00", false}, {"1.005", "1.00", false}, {"Inf", "1.00", false},
	} {
		if got := isNotAbove(c.a, c.b, "EUR"); got != c.not {
			t.Errorf("%s is not above %s: %t", c.a, c.b, got)
		}
	}
}
