package identity

import (
	"errors"
	"os"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestAReplacedFirstKeyEndsItsTicketsAndSockets(t *testing.T) {
	t.Parallel()
	pool, c := testbed.Pools(t).Main, configuration(t)
	a := NewAuthenticator(c, pool, NewKeys(c), (&testbed.Log{}).Logger(), at(noon))
	holder, err := a.Bearer(t.Context(), firstKey)
	if err != nil {
		t.Fatal(err)
	}
	holds := func() bool {
		hold, err := a.StillHold(t.Context(), []*Principal{holder})
		if err != nil {
			t.Fatal(err)
		}
		return hold[holder]
	}
	ticket := func() string {
		ticket, _, err := a.Ticket(t.Context(), holder)
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	first, second := ticket(), ticket()
	p, err := a.Redeem(t.Context(), first)
	if err != nil || p.Actor() != "key first" {
		t.Fatal(p, err)
	}
	if hold, err := a.StillHold(t.Context(), []*Principal{p}); err != nil || !hold[p] || !holds() {
		t.Errorf("the key that is in use does not hold: %v", err)
	}
	if err := os.WriteFile(c.Auth.AdminKeyFile, []byte("sk_live_ANOTHERSECRET0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if holds() {
		t.Error("a replaced key holds")
	}
	if _, err := a.Redeem(t.Context(), second); !errors.Is(err, errRefused) {
		t.Errorf("the ticket of a replaced key opens: %v", err)
	}
	if err := os.Remove(c.Auth.AdminKeyFile); err != nil {
		t.Fatal(err)
	}
	if holds() {
		t.Error("a key that can not be read holds")
	}
	if hold, err := a.StillHold(t.Context(), []*Principal{{}}); err != nil || len(hold) != 0 {
		t.Errorf("nobody holds something: %v, %v", hold, err)
	}
}
