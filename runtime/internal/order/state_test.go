package order

import (
	"errors"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// quoted is a state in the page's table.
var quoted = regexp.MustCompile("`([a-z_]+)`")

// documented is the table of docs/concepts/orders.md: the first column is a
// state, the last what it can become.
func documented(t *testing.T) map[openapi.OrderState][]openapi.OrderState {
	t.Helper()
	page, err := os.ReadFile("../../../docs/concepts/orders.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## States\n")
	if !found {
		t.Fatal("the page has no section States")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	table := map[openapi.OrderState][]openapi.OrderState{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		state := quoted.FindStringSubmatch(cells[0])
		if !strings.HasPrefix(line, "|") || state == nil {
			continue
		}
		ways := []openapi.OrderState{}
		for _, to := range quoted.FindAllStringSubmatch(cells[len(cells)-1], -1) {
			ways = append(ways, openapi.OrderState(to[1]))
		}
		table[openapi.OrderState(state[1])] = ways
	}
	return table
}

func TestTheDocumentedStatesAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	page := documented(t)
	if len(page) != len(transitions) {
		t.Errorf("the page has %d states, the code %d", len(page), len(transitions))
	}
	for from, ways := range transitions {
		listed, ok := page[from]
		if !ok {
			t.Errorf("the page lacks %s", from)
		}
		if slices.Sort(listed); !slices.Equal(listed, slices.Sorted(slices.Values(ways))) {
			t.Errorf("from %s the page knows the ways to %v, the code to %v", from, listed, ways)
		}
	}
}

func TestNoWalkLeavesTheTableAndAHeldOrderGoesBackToWhereItWas(t *testing.T) {
	t.Parallel()
	var states []openapi.OrderState
	for state := range transitions {
		states = append(states, state)
	}
	slices.Sort(states)
	rapid.Check(t, func(t *rapid.T) {
		state := rapid.SampledFrom([]openapi.OrderState{openapi.OrderStatePending, openapi.OrderStateConfirmed}).Draw(t, "placed as")
		var heldFrom openapi.OrderState
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			to := rapid.SampledFrom(states).Draw(t, "to")
			err := allowed(state, heldFrom, to)
			if p, ok := errors.AsType[*problem.Problem](err); err != nil && (!ok || p.Status != http.StatusConflict || p.Code != "transition_not_allowed") {
				t.Fatalf("from %s to %s: %v", state, to, err)
			}
			inTable := slices.Contains(transitions[state], to)
			if state == openapi.OrderStateOnHold {
				inTable = inTable && (to == heldFrom || to == openapi.OrderStateCancelled)
			}
			if (err == nil) != inTable {
				t.Fatalf("from %s (held from %q) to %s: %v", state, heldFrom, to, err)
			}
			if err != nil {
				continue
			}
			heldFrom = ""
			if to == openapi.OrderStateOnHold {
				heldFrom = state
			}
			state = to
		}
	})
}

func TestABuyerCancelsOnlyWhereAnOrderCanBeCancelled(t *testing.T) {
	t.Parallel()
	for _, state := range customerCancels {
		if !slices.Contains(transitions[state], openapi.OrderStateCancelled) {
			t.Errorf("from %s nobody can cancel", state)
		}
	}
}

func TestARefusalNamesTheWaysAsPeopleListThem(t *testing.T) {
	t.Parallel()
	p, ok := errors.AsType[*problem.Problem](allowed(openapi.OrderStateConfirmed, "", openapi.OrderStateDelivered))
	if !ok || p.Detail != "The order is confirmed; from there it can become processing, on_hold or cancelled." {
		t.Errorf("%+v", p)
	}
}

func TestTrackingIsOneLineAndALinkThatCanBeFollowed(t *testing.T) {
	t.Parallel()
	number := func(s string) openapi.Tracking { return openapi.Tracking{Number: s} }
	link := func(s string) openapi.Tracking { return openapi.Tracking{Number: "1", Url: &s} }
	for pointer, all := range map[string][]openapi.Tracking{
		"":                    {number("00340434161094042557"), number("AB 12"), link(""), link("https://carrier.example/track?id=1"), link("http://carrier.example/1")},
		"/tracking/0/number":  {number(""), number("  "), number("a\nb"), number("a\tb")},
		"/tracking/0/carrier": {{Number: "1", Carrier: new("  ")}, {Number: "1", Carrier: new("D\nHL")}},
		"/tracking/0/url":     {link("http://a b"), link("javascript:alert(1)"), link("https://"), link("https:carrier.example"), link("http://a\n.example"), link("carrier.example/1"), link("  ")},
	} {
		for _, one := range all {
			var f problem.Findings
			checkTracking(&f, &[]openapi.Tracking{one})
			if pointer == "" && len(f) > 0 || pointer != "" && (len(f) == 0 || f[0].Pointer != pointer) {
				t.Errorf("%+v: %+v", one, f)
			}
		}
	}
}
