package identity

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

var admin = &Principal{KeyName: firstKeyName, Scopes: []string{Everything}}

func ptr[T any](v T) *T { return &v }

func TestAnAPIKeyIsStoredAsAHashAlone(t *testing.T) {
	t.Parallel()
	pool := testbed.Pools(t).Main
	k := NewAPIKeys(pool, at(noon))
	made, err := k.Create(t.Context(), admin, openapi.ApiKeyInput{Name: "stock", Scopes: []string{"orders:read", "inventory:write", "orders:read"}})
	if err != nil {
		t.Fatal(err)
	}
	if !keyPattern.MatchString(made.Secret) || !strings.HasPrefix(made.Secret, made.ApiKey.Hint) || len(made.ApiKey.Hint) != 12 {
		t.Errorf("%+v", made)
	}
	if want := []string{"inventory:write", "orders:read"}; !reflect.DeepEqual(made.ApiKey.Scopes, want) {
		t.Errorf("scopes %v", made.ApiKey.Scopes)
	}
	var row, hash string
	if err := pool.QueryRow(t.Context(), `SELECT k::text, encode(hash, 'hex') FROM api_keys k`).Scan(&row, &hash); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(row, made.Secret[hintLength:]) || len(hash) != 2*sha256.Size {
		t.Errorf("stored: %s", row)
	}
}

func TestAnAPIKeyOpensUntilItExpiresOrIsRevoked(t *testing.T) {
	t.Parallel()
	pool, c := testbed.Pools(t).Main, configuration(t)
	k := NewAPIKeys(pool, at(noon))
	create := func(in openapi.ApiKeyInput) openapi.CreatedApiKey {
		t.Helper()
		in.Name, in.Scopes = "key", []string{"orders:read"}
		made, err := k.Create(t.Context(), admin, in)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	lasting, short, revoked, test := create(openapi.ApiKeyInput{}), create(openapi.ApiKeyInput{ExpiresAt: ptr(noon.Add(time.Hour))}), create(openapi.ApiKeyInput{}), create(openapi.ApiKeyInput{Test: ptr(true)})
	for range 2 { // the second changes nothing
		if err := k.Revoke(t.Context(), revoked.ApiKey.Id); err != nil {
			t.Fatal(err)
		}
	}
	development := c
	development.Store.Mode = config.ModeDevelopment
	for name, want := range map[string]struct {
		config config.Config
		now    time.Time
		key    openapi.CreatedApiKey
		open   bool
	}{
		"a lasting key":               {c, noon.AddDate(10, 0, 0), lasting, true},
		"a short key before its end":  {c, noon.Add(time.Hour - time.Second), short, true},
		"a short key at its end":      {c, noon.Add(time.Hour), short, false},
		"a revoked key":               {c, noon, revoked, false},
		"a test key in production":    {c, noon, test, false},
		"a test key in development":   {development, noon, test, true},
		"a live key in development":   {development, noon, lasting, true},
		"a revoked key, development":  {development, noon, revoked, false},
		"an expired key, development": {development, noon.Add(2 * time.Hour), short, false},
	} {
		w := newDoor(want.config, pool, at(want.now)).knock("Bearer " + want.key.Secret)
		if opened := w.Code == http.StatusOK; opened != want.open || !opened && w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	list, err := k.List(t.Context(), uuid.Max, 10)
	if err != nil || len(list) != 4 || list[0].Id != test.ApiKey.Id || list[1].RevokedAt == nil || list[2].ExpiresAt == nil {
		t.Errorf("%v %+v", err, list)
	}
	if p, ok := errors.AsType[*problem.Problem](k.Revoke(t.Context(), uuid.New())); !ok || p.Code != "api_key_not_found" {
		t.Errorf("%v", p)
	}
}

func TestTheLastUseIsNotedOnceAMinute(t *testing.T) {
	t.Parallel()
	pool, c := testbed.Pools(t).Main, configuration(t)
	k := NewAPIKeys(pool, at(noon))
	made, err := k.Create(t.Context(), admin, openapi.ApiKeyInput{Name: "key", Scopes: []string{"orders:read"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ after, noted time.Duration }{{0, 0}, {59 * time.Second, 0}, {60 * time.Second, 60 * time.Second}, {90 * time.Second, 60 * time.Second}} {
		if w := newDoor(c, pool, at(noon.Add(step.after))).knock("Bearer " + made.Secret); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		list, err := k.List(t.Context(), uuid.Max, 1)
		if err != nil || list[0].LastUsedAt == nil || !list[0].LastUsedAt.Equal(noon.Add(step.noted)) {
			t.Errorf("used after %s, noted %v, %v", step.after, list[0].LastUsedAt, err)
		}
	}
}

func TestAnAPIKeyMustMakeSenseAndGiveNoMoreThanItsMakerHas(t *testing.T) {
	t.Parallel()
	k := NewAPIKeys(testbed.Pools(t).Main, at(noon))
	keeper := &Principal{KeyName: "keeper", KeyID: uuid.New(), Scopes: []string{"api_keys:admin", "orders:write"}}
	for name, want := range map[string]struct {
		by   *Principal
		in   openapi.ApiKeyInput
		code string
	}{
		"no name":             {admin, openapi.ApiKeyInput{Scopes: []string{"orders:read"}}, "/name"},
		"no scope":            {admin, openapi.ApiKeyInput{Name: "k"}, "/scopes"},
		"too many scopes":     {admin, openapi.ApiKeyInput{Name: "k", Scopes: make([]string, 51)}, "/scopes"},
		"a scope unknown":     {admin, openapi.ApiKeyInput{Name: "k", Scopes: []string{"orders:read", "moon:read"}}, "/scopes/1"},
		"a level unknown":     {admin, openapi.ApiKeyInput{Name: "k", Scopes: []string{"orders:delete"}}, "/scopes/0"},
		"every resource":      {admin, openapi.ApiKeyInput{Name: "k", Scopes: []string{"*:admin"}}, "/scopes/0"},
		"a past end":          {admin, openapi.ApiKeyInput{Name: "k", Scopes: []string{"orders:read"}, ExpiresAt: ptr(noon)}, "/expiresAt"},
		"more than one has":   {keeper, openapi.ApiKeyInput{Name: "k", Scopes: []string{"orders:admin"}}, "forbidden"},
		"another's resource":  {keeper, openapi.ApiKeyInput{Name: "k", Scopes: []string{"customers:read"}}, "forbidden"},
		"less than one has":   {keeper, openapi.ApiKeyInput{Name: "k", Scopes: []string{"orders:read"}}, ""},
		"as much as one has":  {keeper, openapi.ApiKeyInput{Name: "k", Scopes: []string{"api_keys:admin"}}, ""},
		"all that there is":   {admin, openapi.ApiKeyInput{Name: "k", Scopes: []string{"api_keys:admin", "customers:admin"}}, ""},
		"control characters":  {admin, openapi.ApiKeyInput{Name: "k\x00", Scopes: []string{"orders:read"}}, "/name"},
		"a name beyond 100":   {admin, openapi.ApiKeyInput{Name: strings.Repeat("ü", 101), Scopes: []string{"orders:read"}}, "/name"},
		"a name of just 100":  {admin, openapi.ApiKeyInput{Name: strings.Repeat("ü", 100), Scopes: []string{"orders:read"}}, ""},
		"a scope that is nil": {admin, openapi.ApiKeyInput{Name: "k", Scopes: []string{""}}, "/scopes/0"},
	} {
		_, err := k.Create(t.Context(), want.by, want.in)
		p, _ := errors.AsType[*problem.Problem](err)
		switch {
		case want.code == "":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case p == nil || p.Code != want.code && (len(p.Errors) == 0 || p.Errors[0].Pointer != want.code):
			t.Errorf("%s: %+v", name, p)
		}
	}
}
