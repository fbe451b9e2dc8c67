package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestARenderedEdgeIsReadBackAsItWas(t *testing.T) {
	t.Parallel()
	changed := DefaultEdge()
	changed.TrustedProxies, changed.ForwardedHeader = []string{"10.0.0.0/8"}, ForwardedStandard
	changed.Security.HSTS = &HSTS{MaxAgeSeconds: 1}
	changed.Security.Headers.FrameOptions = ""
	changed.Security.CORS = &CORS{AllowedOrigins: []string{"https://a.example.com"}, MaxAge: Duration(time.Minute)}
	changed.Limits = Limits{
		Address: []Window{{5, Duration(time.Second)}}, APIKey: []Window{}, Customer: []Window{{7, Duration(time.Hour)}}, Global: []Window{{9, Duration(time.Minute)}},
		Rules: []Rule{{
			Name: "login", Paths: []Path{{PathExact, "/auth/login"}}, Methods: []string{"POST"}, Identities: []string{IdentityAddress},
			Windows: []Window{{10, Duration(time.Minute)}}, Together: true, Cost: 3, Shadow: true, Disabled: true,
		}},
		Block: []string{"203.0.113.0/24"}, Allow: []string{"2001:db8::/32"}, Consistency: ConsistencyLeased, FailureMode: FailureClosed,
		Protection: Protection{Mode: ProtectionOn, MaxInFlight: 3, BanAfter: 4, BanFor: Duration(time.Hour)},
	}
	for name, e := range map[string]Edge{"with defaults": DefaultEdge(), "with everything changed": changed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := e.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseEdge(raw)
			if err != nil {
				t.Fatalf("%v in\n%s", err, raw)
			}
			if !reflect.DeepEqual(got, e) {
				t.Errorf("read back\n%+v\nfor\n%+v\nfrom\n%s", got, e, raw)
			}
		})
	}
	if raw, _ := DefaultEdge().Marshal(); string(raw) != "{}\n" {
		t.Errorf("the defaults are rendered as %q", raw)
	}
}

func TestReadingAnEdgeIsStrictAndNamesTheKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ yaml, words string }{
		"an unknown key":              {"limit: {}", `unknown field "limit"`},
		"an unknown key of a window":  {"limits: {address: [{request: 1, period: 1m}]}", `unknown field "request"`},
		"a window without a period":   {"limits: {address: [{requests: 1}]}", "limits.address: a period"},
		"two windows of one period":   {"limits: {global: [{requests: 1, period: 1m}, {requests: 2, period: 60s}]}", "limits.global: two windows"},
		"five windows":                {"limits: {apiKey: [{requests: 1, period: 1s}, {requests: 1, period: 2s}, {requests: 1, period: 3s}, {requests: 1, period: 4s}, {requests: 1, period: 5s}]}", "at most 4"},
		"fewer than no requests":      {"limits: {customer: [{requests: -1, period: 1m}]}", "limits.customer: requests"},
		"a block that is no CIDR":     {"limits: {block: [nobody]}", `limits.block: "nobody"`},
		"an unknown consistency":      {"limits: {consistency: eventual}", "limits.consistency"},
		"an unknown failure mode":     {"limits: {failureMode: panic}", "limits.failureMode"},
		"an unknown mode":             {"limits: {protection: {mode: maybe}}", "limits.protection.mode"},
		"a rule without a name":       {"limits: {rules: [{cost: 2}]}", "limits.rules[0].name"},
		"two rules of one name":       {"limits: {rules: [{name: a}, {name: a}]}", "limits.rules[1].name"},
		"a relative path":             {"limits: {rules: [{name: a, paths: [{type: exact, value: login}]}]}", "must begin with /"},
		"an unknown identity":         {"limits: {rules: [{name: a, identities: [dog]}]}", "limits.rules[0].identities"},
		"a proxy that is no CIDR":     {"trustedProxies: [10.0.0.0/33]", `"10.0.0.0/33" is not a CIDR`},
		"an unknown forwarded header": {"forwardedHeader: Via", "forwardedHeader"},
		"a star with credentials":     {"security: {cors: {allowedOrigins: ['*'], allowCredentials: true}}", "security.cors"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseEdge([]byte(c.yaml))
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("the error is %v, without %q", err, c.words)
			}
		})
	}
}

func TestAWindowInAFileReplacesADefaultOneWhole(t *testing.T) {
	t.Parallel()
	e, err := ParseEdge([]byte("limits: {address: [{requests: 5, period: 1m}], apiKey: []}"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Window{{5, Duration(time.Minute)}}; !reflect.DeepEqual(e.Limits.Address, want) || len(e.Limits.APIKey) != 0 {
		t.Errorf("read %+v", e.Limits)
	}
}
