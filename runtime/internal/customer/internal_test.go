package customer

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func service(t testing.TB) *Service {
	c := config.Default()
	c.Auth.TokenKeyFile = testbed.File(t, "a token key of more than 32 characters")
	return New(testbed.Pools(t).Main, identity.NewKeys(c), nil, nil, time.Now, slog.New(slog.DiscardHandler))
}

// Between the check of a password and the session, the account may be locked
// or get another password.
func TestASessionOpensOnlyForWhatStillHolds(t *testing.T) {
	t.Parallel()
	s := service(t)
	checked := customerdb.CustomerByEmailRow{ID: uuid.Must(uuid.NewV7()), PasswordHash: "checked", Role: "customer"}
	_, err := s.pool.Exec(t.Context(), `INSERT INTO customers (id, email, name, password_hash) VALUES ($1, 'ada@example.com', '', 'checked')`, checked.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(t.Context(), checked, nil); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]string{"locked": `UPDATE customers SET locked = true`, "another password": `UPDATE customers SET locked = false, password_hash = 'other'`} {
		if _, err := s.pool.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		_, err := s.open(t.Context(), checked, nil)
		if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != "invalid_credentials" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEmails(f *testing.F) {
	for _, seed := range []string{"ada@example.com", " Ada@Example.COM ", "a@b, c@d", "Ada <a@b>", "a\r\n@b", "\"a b\"@c", "\u212a@b", "a@[::1]", "ü@ü.de", "(c)a@b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var findings problem.Findings
		stored := CheckEmail(&findings, s)
		if len(findings) > 0 {
			return
		}
		if len(stored) > 254 || strings.Count(stored, "@") != 1 || strings.ContainsFunc(stored, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			t.Errorf("%q is stored as %q", s, stored)
		}
		if again := CheckEmail(&findings, stored); again != stored || len(findings) > 0 {
			t.Errorf("%q is stored as %q, and that as %q: %v", s, stored, again, findings)
		}
	})
}

func FuzzRefreshTokens(f *testing.F) {
	c := config.Default()
	c.Auth.TokenKeyFile = testbed.File(f, "a token key of more than 32 characters")
	good, err := (&Service{keys: identity.NewKeys(c)}).newRefreshToken(uuid.New())
	if err != nil {
		f.Fatal(err)
	}
	c.Auth.TokenKeyFile = testbed.File(f, "another secret of more than 32 characters")
	s := &Service{keys: identity.NewKeys(c)}
	for _, seed := range []string{good, good[:20], "rt_", "", good + "A", "rt_" + strings.Repeat("A", 107)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if id, ok, err := s.sessionOf(token); err != nil || ok {
			t.Errorf("%q is of session %s: %v", token, id, err)
		}
	})
}
