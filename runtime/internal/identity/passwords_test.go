package identity

import (
	"context"
	"errors"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

func TestAPasswordIsKnownByItsHash(t *testing.T) {
	t.Parallel()
	p := NewPasswords()
	hash, err := p.Hash(t.Context(), "correct horse")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(hash, err)
	}
	again, err := p.Hash(t.Context(), "correct horse")
	if err != nil || again == hash {
		t.Errorf("two hashes of one password are the same: %v", err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct Horse": false, "": false} {
		if ok, stale, err := p.Check(t.Context(), hash, password); ok != want || stale || err != nil {
			t.Errorf("%q: %v %v %v", password, ok, stale, err)
		}
	}
	if ok, _, err := p.Check(t.Context(), "", ""); ok || err != nil {
		t.Errorf("no hash is the hash of a password: %v", err)
	}
}

// The first is the test vector of the reference implementation for Argon2id
// with 64 MiB, 2 passes, 1 lane.
func TestAHashOfAnotherCostIsKnownAndStale(t *testing.T) {
	t.Parallel()
	const hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	ok, stale, err := NewPasswords().Check(t.Context(), hash, "password")
	if !ok || !stale || err != nil {
		t.Error(ok, stale, err)
	}
}

func TestWhoWaitsForASlotGivesUpWithTheRequest(t *testing.T) {
	t.Parallel()
	p := NewPasswords()
	for range hashesAtOnce {
		p.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Hash(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, _, err := p.Check(ctx, "", "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, err := p.Hash(late, "x")
	if busy, ok := errors.AsType[*problem.Problem](err); !ok || busy.Code != "busy" || busy.RetryAfter == 0 {
		t.Error(err)
	}
}

func FuzzHashes(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=4294967295,t=0,p=0$$")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, hash string) {
		c, salt, key, err := parseHash(hash)
		if err == nil && (c.time < 1 || c.threads < 1 || len(salt) < 8 || len(key) < 16 || c.memory > 1<<20) {
			t.Errorf("%q is read as %+v", hash, c)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	p := NewPasswords()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Hash(b.Context(), "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}
