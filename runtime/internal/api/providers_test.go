package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// TestAKeyThatAProviderDoesNotTakeIsNoOutage has a store be set up with a wrong
// one: to come back in a moment would not help.
func TestAKeyThatAProviderDoesNotTakeIsNoOutage(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	_, w := s.pay("nonsense")
	wantProblem(t, w, http.StatusBadRequest, "invalid_request")
	s.stripe.Judge(func(*http.Request, int) testbed.Fate { return testbed.Fate{Status: 401} })
	_, w = s.pay("pm_card")
	wantProblem(t, w, http.StatusBadGateway, "payment_provider_misconfigured")
	if after := w.Header().Get("Retry-After"); after != "" {
		t.Errorf("buyers are told to come back in %s s", after)
	}
	if n := s.number(`SELECT count(*) FROM payment_attempts`); n != 0 {
		t.Errorf("%d attempts are left, of which nothing was done", n)
	}
	if _, err := s.Payments.Reconcile(t.Context()); err == nil {
		t.Error("a comparison with nobody is done")
	}
	if n := strings.Count(s.log.String(), "does not take the store's key: set it up anew"); n != 2 {
		t.Errorf("it is logged %d times", n)
	}
	registry := prometheus.NewRegistry()
	s.Payments.Register(registry)
	found, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, f := range found {
		if f.GetName() != "gocart_payment_requests_total" {
			continue
		}
		for _, m := range f.Metric {
			said := ""
			for _, l := range m.Label {
				said += l.GetValue() + " "
			}
			asked = append(asked, said+fmt.Sprint(m.Counter.GetValue()))
		}
	}
	if got := strings.Join(asked, ", "); got != "authorize misconfigured stripe 1, compare misconfigured stripe 1" {
		t.Errorf("requests are counted as %s", got)
	}
}
