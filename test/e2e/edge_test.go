//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	commerce "gitee.com/captainjez/gocart/runtime/openapi/client"
)

// within is how soon every replica goes by what was changed.
const within = 5 * time.Second

// edge is a store called "shop" with each of its api pods apart.
type edge struct {
	ns       string
	pods     []corev1.Pod
	replicas []*shopper
}

func edgeOf(t *testing.T, ns string) *edge {
	t.Helper()
	var pods corev1.PodList
	if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), podsOf("api")); err != nil {
		t.Fatal(err)
	}
	e := &edge{ns: ns, pods: pods.Items}
	for _, pod := range e.pods {
		e.replicas = append(e.replicas, shopAtPod(t, ns, "shop", pod))
	}
	return e
}

// ownAddress is this machine's as pods see it.
func ownAddress(t *testing.T) string {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(operatorPods(t)[0].Status.PodIP, "9")) // which sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	addr := netip.MustParseAddrPort(conn.LocalAddr().String()).Addr()
	return netip.PrefixFrom(addr, addr.BitLen()).String()
}

// trust has the store believe this machine about addresses, and waits until
// every replica does.
func (e *edge) trust(t *testing.T) {
	t.Helper()
	begun := time.Now()
	patchStore(t, e.ns, "shop", func(s *v1alpha1.Store) {
		if s.Spec.Security == nil {
			s.Spec.Security = &v1alpha1.SecuritySpec{}
		}
		s.Spec.Security.TrustedProxies = []string{ownAddress(t)}
	})
	e.everywhere(t, begun, "this machine's word is taken", func(h http.Header) error {
		if left := h.Get("X-RateLimit-Remaining"); left != "59" {
			return fmt.Errorf("somebody new has %s requests left", left)
		}
		return nil
	})
}

var strangers atomic.Uint32

// stranger comes from an address that nobody came from before; a store that
// trusts this machine believes it.
func stranger() http.Header {
	n := strangers.Add(1)
	return from(netip.AddrFrom4([4]byte{198, byte(18 + n>>16&1), byte(n >> 8), byte(n)}).String())
}

func from(address string) http.Header { return http.Header{"X-Forwarded-For": {address}} }

// everywhere waits until what every replica answers to a stranger is right.
func (e *edge) everywhere(t *testing.T, begun time.Time, what string, right func(http.Header) error) {
	t.Helper()
	took := make([]time.Duration, len(e.replicas))
	eventually(t, within, what+" at every replica", func() error {
		var errs []error
		for i, replica := range e.replicas {
			if took[i] > 0 {
				continue
			}
			resp, _, err := replica.do(http.MethodGet, "/api/health", stranger(), nil)
			if err == nil {
				err = right(resp.Header)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("pod %s: %w", e.pods[i].Name, err))
				continue
			}
			took[i] = time.Since(begun)
		}
		return errors.Join(errs...)
	})
	t.Logf("%s: at the replicas after %.1f s", what, seconds(took))
}

func seconds(list []time.Duration) (out []float64) {
	for _, d := range list {
		out = append(out, d.Seconds())
	}
	return out
}

// burst sends n requests to the replicas in turn, some at the same time.
func (e *edge) burst(n int, header func(i int) http.Header) ([]*http.Response, error) {
	answers := make([]*http.Response, n)
	var group errgroup.Group
	group.SetLimit(6)
	for i := range n {
		group.Go(func() error {
			resp, _, err := e.replicas[i%len(e.replicas)].do(http.MethodGet, "/api/health", header(i), nil)
			answers[i] = resp
			return err
		})
	}
	return answers, group.Wait()
}

// exactly checks that so many passed of a new window's requests, and that every
// answer's headers tell the truth.
func exactly(answers []*http.Response, limit int) error {
	var errs []error
	left := map[int]int{}
	refused := 0
	for _, a := range answers {
		h := a.Header
		remaining, reset := number(h, "X-RateLimit-Remaining"), number(h, "X-RateLimit-Reset")
		if number(h, "X-RateLimit-Limit") != limit || reset < 1 || reset > 60 {
			errs = append(errs, fmt.Errorf("%s says limit %q and reset %q", a.Status, h.Get("X-RateLimit-Limit"), h.Get("X-RateLimit-Reset")))
		}
		switch a.StatusCode {
		case http.StatusOK:
			left[remaining]++
		case http.StatusTooManyRequests:
			refused++
			if remaining != 0 || number(h, "Retry-After") != reset || h.Get("Content-Type") != "application/problem+json" {
				errs = append(errs, fmt.Errorf("a refusal says remaining %d, Retry-After %q, reset %d, %s", remaining, h.Get("Retry-After"), reset, h.Get("Content-Type")))
			}
		default:
			errs = append(errs, fmt.Errorf("answered %s", a.Status))
		}
	}
	for n := range limit {
		if left[n] != 1 {
			errs = append(errs, fmt.Errorf("%d answers said that %d requests are left", left[n], n))
		}
	}
	if passed := len(answers) - refused; passed != limit {
		errs = append(errs, fmt.Errorf("%d passed and %d were refused", passed, refused))
	}
	return errors.Join(errs...)
}

func number(h http.Header, name string) int {
	n, err := strconv.Atoi(h.Get(name))
	if err != nil {
		return -1
	}
	return n
}

// TestTheEdgeOfThreeReplicas has one store for all of it, whose pods live
// through it from the beginning to the end.
func TestTheEdgeOfThreeReplicas(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	// Bursts of which a part is refused are an attack, under which limits of
	// addresses are halved: here they are to be what they are.
	policy := newPolicy(ns, "limits", nil)
	policy.Spec.DDoSProtection = &v1alpha1.DDoSProtectionSpec{Mode: v1alpha1.ProtectionOff}
	create(t, policy)
	create(t, newStore(ns, "shop", development, func(s *v1alpha1.Store) {
		s.Spec.API.Replicas = ptr(int32(3))
		s.Spec.Security = &v1alpha1.SecuritySpec{CORS: &v1alpha1.CORSSpec{AllowedOrigins: []string{friend}, AllowCredentials: true}}
	}))
	ready(t, ns, "shop")
	pods := podUIDs(t, ns)
	e := edgeOf(t, ns)
	if len(e.pods) != 3 {
		t.Fatalf("there are %d api pods", len(e.pods))
	}
	t.Run("believes no stranger about addresses", e.believesNoStranger)
	t.Run("believes a proxy as soon as it is trusted", e.trust)
	t.Run("and then", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"lets sixty of a hundred requests pass ten times out of ten": e.letsSixtyPass,
			"counts a valid key by itself and a made-up one not at all":  e.countsKeys,
			"sends what graders ask for":                                 e.sendsWhatGradersAskFor,
			"lets no stranger's page use a browser's cookies":            e.guardsCookies,
			"has no weakness that testssl.sh knows":                      e.passesTestssl,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	t.Run("goes by an edited policy within seconds", e.goesByAnEditedPolicy)
	t.Run("limits on without Redis and exactly with it", e.limitsOnWithoutRedis)
	if now := podUIDs(t, ns); now != pods {
		t.Errorf("pods were replaced or restarted: %s, then %s", pods, now)
	}
}

func (e *edge) believesNoStranger(t *testing.T) {
	headers := []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "True-Client-Ip", "X-Client-Ip", "Cf-Connecting-Ip"}
	answers, err := e.burst(100, func(i int) http.Header {
		name, claim := headers[i%len(headers)], fmt.Sprintf("203.0.113.%d", i)
		if name == "Forwarded" {
			claim = "for=" + claim
		}
		return http.Header{name: {claim}}
	})
	if err == nil {
		err = exactly(answers, 60)
	}
	if err != nil {
		t.Error(err)
	}
}

func (e *edge) letsSixtyPass(t *testing.T) {
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			answers, err := e.burst(100, func(i int) http.Header {
				if n == 9 { // whose addresses of IPv6 are one caller's
					return from(fmt.Sprintf("2001:db8:0:1::%x", i))
				}
				return from(fmt.Sprintf("203.0.113.%d", n))
			})
			if err == nil {
				err = exactly(answers, 60)
			}
			if err != nil {
				t.Errorf("client %d: %v", n, err)
			}
		})
	}
	all.Wait()
}

func (e *edge) countsKeys(t *testing.T) {
	shop := e.replicas[0]
	key := created[commerce.CreatedApiKey](t)(shop.api(bearer(shop.adminKey())...).CreateApiKeyWithResponse(t.Context(),
		commerce.ApiKeyInput{Name: "robot", Scopes: []string{"products:read"}})).Secret
	answers, err := e.burst(1050, func(int) http.Header {
		h := stranger()
		h.Set("Authorization", "Bearer "+key)
		return h
	})
	if err == nil {
		err = exactly(answers, 1000)
	}
	if err != nil {
		t.Errorf("a valid key: %v", err)
	}
	if counted, limits := e.lies(t); counted != 60 || limits != "60" {
		t.Errorf("of 100 requests with made-up keys %d were not refused by the limit, which was %s", counted, limits)
	}
}

// lies makes 100 requests of one stranger with keys that are none, and says how
// many were not refused by the limit, and by which limits.
func (e *edge) lies(t *testing.T) (counted int, limits string) {
	t.Helper()
	liar := stranger()
	answers, err := e.burst(100, func(i int) http.Header {
		h := liar.Clone()
		h.Set("Authorization", fmt.Sprintf("Bearer sk_live_MADEUP%026d", i))
		return h
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range answers {
		if a.StatusCode != http.StatusTooManyRequests {
			counted++
		}
		seen[a.Header.Get("X-RateLimit-Limit")] = true
	}
	return counted, strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}

// sendsWhatGradersAskFor checks the rules by which Mozilla's Observatory and
// securityheaders.com give an A+.
func (e *edge) sendsWhatGradersAskFor(t *testing.T) {
	for _, path := range []string{"/api/health", "/api/v1/products", "/docs", "/no/such/page"} {
		resp, _, err := e.replicas[0].do(http.MethodGet, path, stranger(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range gradeHeaders(resp.Header) {
			t.Errorf("%s: %s", path, fault)
		}
	}
}

func gradeHeaders(h http.Header) (faults []string) {
	want := func(ok bool, name, rule string) {
		if !ok {
			faults = append(faults, fmt.Sprintf("%s must %s: %q", name, rule, h.Values(name)))
		}
	}
	hsts := h.Get("Strict-Transport-Security")
	first, rest, _ := strings.Cut(hsts, ";")
	age, err := strconv.Atoi(strings.TrimPrefix(first, "max-age="))
	want(err == nil && age >= 365*24*3600 && strings.Contains(rest, "includeSubDomains"), "Strict-Transport-Security", "hold for a year, with subdomains")
	policy := h.Get("Content-Security-Policy")
	want(strings.HasPrefix(policy, "default-src ") && !strings.Contains(policy, "unsafe-") && !strings.ContainsAny(policy, "*") && !strings.Contains(policy, "data:"),
		"Content-Security-Policy", "begin with default-src and allow nothing unsafe")
	want(h.Get("X-Content-Type-Options") == "nosniff", "X-Content-Type-Options", "be nosniff")
	want(h.Get("X-Frame-Options") == "DENY", "X-Frame-Options", "be DENY")
	want(slices.Contains([]string{"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"}, h.Get("Referrer-Policy")),
		"Referrer-Policy", "tell other origins no path")
	want(strings.Contains(h.Get("Permissions-Policy"), "camera=()"), "Permissions-Policy", "switch features off")
	for _, name := range []string{"Server", "X-Powered-By", "Access-Control-Allow-Origin"} {
		want(h.Get(name) == "", name, "not be sent")
	}
	return faults
}

// friend is the origin whose pages the store allows, foe one that it does not.
const (
	friend = "https://pages.example"
	foe    = "https://foe.example"
)

func (e *edge) guardsCookies(t *testing.T) {
	browser := *e.replicas[0]
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	page := *browser.client
	page.Jar = jar
	browser.client = &page
	body, err := json.Marshal(commerce.RegisterInput{Email: "browser@example.com", Password: "correct horse battery"})
	if err != nil {
		t.Fatal(err)
	}
	visitor := stranger()
	send := func(method, path string, want int, headers ...string) http.Header {
		t.Helper()
		h := visitor.Clone()
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		h.Set("Content-Type", "application/json")
		resp, raw, err := browser.do(method, "/api/v1"+path, h, body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s %s %v: answered %s %s", method, path, headers, resp.Status, raw)
		}
		return resp.Header
	}
	send("POST", "/auth/register", http.StatusAccepted)
	send("POST", "/auth/session", http.StatusForbidden, "Origin", foe)
	for _, cookie := range (&http.Response{Header: send("POST", "/auth/session", http.StatusOK, "Origin", browser.base)}).Cookies() {
		if !cookie.Secure || !cookie.HttpOnly || cookie.SameSite < http.SameSiteLaxMode {
			t.Errorf("cookie %s is not for HTTPS, this site and no script", cookie.Name)
		}
	}
	if at, err := url.Parse(browser.base); err != nil || len(jar.Cookies(at)) == 0 {
		t.Fatalf("the browser was given no cookie: %v", err)
	}
	send("GET", "/me", http.StatusOK)
	send("DELETE", "/auth/session", http.StatusForbidden, "Origin", foe)
	send("DELETE", "/auth/session", http.StatusForbidden, "Origin", "null")
	send("DELETE", "/auth/session", http.StatusForbidden, "Sec-Fetch-Site", "cross-site")
	send("GET", "/me", http.StatusOK)

	preflight := []string{"Access-Control-Request-Method", "DELETE", "Origin"}
	if h := send("OPTIONS", "/auth/session", http.StatusNoContent, append(preflight, foe)...); h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("a stranger's preflight is allowed: %v", h)
	}
	if h := send("OPTIONS", "/auth/session", http.StatusNoContent, append(preflight, friend)...); h.Get("Access-Control-Allow-Origin") != friend || h.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("an allowed origin's preflight is not allowed: %v", h)
	}
	send("DELETE", "/auth/session", http.StatusNoContent, "Origin", friend)
	send("GET", "/me", http.StatusUnauthorized)
}

// passesTestssl runs Debian's testssl.sh against the store's Service: all but
// its lists of older ciphers and of clients, which take it minutes and which TLS
// 1.3 alone leaves nothing to say about.
func (e *edge) passesTestssl(t *testing.T) {
	excused := map[string]string{
		"cert_revocation": "the local ACME server answers nobody about revoked certificates",
		"engine_problem":  "is about this machine's openssl",
	}
	install := exec.CommandContext(t.Context(), "go", "run", "./hack/build", "apt", "testssl=testssl.sh")
	install.Dir = "../.."
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	folder := t.TempDir()
	ca, report := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "report.json")
	if err := os.WriteFile(ca, []byte(os.Getenv("ACME_CA")), 0o600); err != nil {
		t.Fatal(err)
	}
	service := read(t, e.ns, "shop-api", &corev1.Service{})
	testssl := exec.CommandContext(t.Context(), "testssl", "--quiet", "--color", "0", "--warnings", "off", "--add-ca", ca,
		"--protocols", "--server-defaults", "--headers", "--vulnerable", "--ip", service.Spec.ClusterIP, "--jsonfile", report, domain(e.ns, "shop")+":443")
	out, err := testssl.CombinedOutput() // its exit status counts findings
	raw, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(raw, &findings); err != nil {
		t.Fatal(err)
	}
	offered := map[string]string{}
	for _, f := range findings {
		offered[f.ID] = f.Finding
		if !slices.Contains([]string{"OK", "INFO", "LOW"}, f.Severity) && excused[f.ID] == "" {
			t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	t.Logf("testssl.sh made %d findings", len(findings))
	for _, protocol := range []string{"SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2"} {
		if !strings.Contains(offered[protocol], "not offered") {
			t.Errorf("%s: %q", protocol, offered[protocol])
		}
	}
	if !strings.Contains(offered["TLS1_3"], "offered with final") {
		t.Errorf("TLS1_3: %q", offered["TLS1_3"])
	}
}

// verdict is what a policy's status said at some time.
type verdict struct {
	generation int64
	enforced   metav1.ConditionStatus
	replicas   string
	message    string
	at         time.Time
}

// verdicts tells of every change of a policy's status until the test ends.
func verdicts(t *testing.T, ns, name string) <-chan verdict {
	t.Helper()
	w, err := cluster.Watch(t.Context(), &v1alpha1.RateLimitPolicyList{}, client.InNamespace(ns), client.MatchingFields{"metadata.name": name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	list := make(chan verdict, 1000)
	go func() {
		for event := range w.ResultChan() {
			p, ok := event.Object.(*v1alpha1.RateLimitPolicy)
			if !ok {
				continue
			}
			if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.EnforcedCondition); c != nil {
				list <- verdict{c.ObservedGeneration, c.Status, p.Status.EnforcedReplicas, c.Message, time.Now()}
			}
		}
	}()
	return list
}

// await returns the first verdict on a generation that is right, and whether
// Enforced was False for that generation before.
func await(t *testing.T, list <-chan verdict, generation int64, right func(verdict) bool) (found verdict, wasFalse bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		select {
		case v := <-list:
			if v.generation != generation {
				continue
			}
			if right(v) {
				return v, wasFalse
			}
			found, wasFalse = v, wasFalse || v.enforced == metav1.ConditionFalse
		case <-deadline.C:
			t.Fatalf("the last verdict was %+v", found)
		}
	}
}

func byAll(v verdict) bool { return v.enforced == metav1.ConditionTrue && v.replicas == "3/3" }

func addressLimit(requests int64) *v1alpha1.LimitsSpec {
	return &v1alpha1.LimitsSpec{Windows: []v1alpha1.RateLimitWindow{{Requests: requests, Period: metav1.Duration{Duration: time.Minute}}}}
}

func newPolicy(ns, name string, limit *v1alpha1.LimitsSpec) *v1alpha1.RateLimitPolicy {
	return &v1alpha1.RateLimitPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       v1alpha1.RateLimitPolicySpec{TargetRef: v1alpha1.PolicyTargetReference{Name: "shop"}, Address: limit},
	}
}

// unlimited has a store called "shop" answer as often as a test about something
// else asks. Made before the store, it is in force from its pods' first moment.
func unlimited(t *testing.T, ns string) {
	t.Helper()
	create(t, newPolicy(ns, "unlimited", addressLimit(1_000_000)))
}

func (e *edge) goesByAnEditedPolicy(t *testing.T) {
	list := verdicts(t, e.ns, "limits")
	edit := func(limit int64) int64 {
		begun := time.Now()
		policy := newPolicy(e.ns, "limits", addressLimit(limit))
		policy.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "RateLimitPolicy"}
		// As kubectl apply --server-side does.
		if err := cluster.Patch(t.Context(), policy, client.Apply, client.FieldOwner("e2e"), client.ForceOwnership); err != nil { //nolint:staticcheck // no generated apply configurations
			t.Fatal(err)
		}
		e.everywhere(t, begun, fmt.Sprintf("an applied limit of %d", limit), limitIs(limit))
		v, wasFalse := await(t, list, policy.Generation, byAll)
		if !wasFalse {
			t.Errorf("Enforced was never False for generation %d", policy.Generation)
		}
		took := v.at.Sub(begun)
		t.Logf("generation %d: Enforced is True and prints %s after %.1f s", policy.Generation, v.replicas, took.Seconds())
		if took > within {
			t.Errorf("Enforced was True after %s only", took)
		}
		return policy.Generation
	}
	edit(7)
	generation := edit(9)
	caller := stranger()
	answers, err := e.burst(20, func(int) http.Header { return caller })
	if err == nil {
		err = exactly(answers, 9)
	}
	if err != nil {
		t.Error(err)
	}

	// A pod that hangs runs who knows what: it is told of by itself.
	behind := e.pods[1]
	signal(t, behind, syscall.SIGSTOP)
	begun := time.Now()
	v, _ := await(t, list, generation, func(v verdict) bool { return v.enforced == metav1.ConditionFalse })
	signal(t, behind, syscall.SIGCONT)
	t.Logf("a pod that hangs: Enforced is False and prints %s after %.1f s: %s", v.replicas, v.at.Sub(begun).Seconds(), v.message)
	if v.replicas != "2/3" || !strings.Contains(v.message, behind.Name) {
		t.Errorf("the verdict was %+v", v)
	}
	await(t, list, generation, byAll)

	begun = time.Now()
	if err := cluster.Delete(t.Context(), newPolicy(e.ns, "limits", nil)); err != nil {
		t.Fatal(err)
	}
	e.everywhere(t, begun, "the default limit after the policy's deletion", limitIs(60))
}

func limitIs(want int64) func(http.Header) error {
	return func(h http.Header) error {
		if got := h.Get("X-RateLimit-Limit"); got != strconv.FormatInt(want, 10) {
			return fmt.Errorf("the limit is %s", got)
		}
		return nil
	}
}

// limitsOnWithoutRedis takes Redis away for as long as it takes to see what
// each replica does alone.
func (e *edge) limitsOnWithoutRedis(t *testing.T) {
	leave := visiting(t, 6, func(visitor int) (int, error) {
		path := "/api/health"
		if visitor%2 == 1 {
			path = "/api/v1/products"
		}
		resp, _, err := e.replicas[visitor%3].do(http.MethodGet, path, stranger(), nil)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, nil
	})
	// The operator would put it back.
	patchStore(t, e.ns, "shop", func(s *v1alpha1.Store) { s.Spec.Paused = true })
	condition(t, e.ns, "shop", v1alpha1.ReadyCondition, func(c metav1.Condition) bool { return c.Reason == v1alpha1.ReasonPaused })
	redis := read(t, e.ns, "shop-redis", &appsv1.StatefulSet{})
	none := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":0}}`))
	if err := cluster.SubResource("scale").Patch(t.Context(), redis, none); err != nil {
		t.Fatal(err)
	}
	err := cluster.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(e.ns), podsOf("redis"), client.GracePeriodSeconds(0))
	if err != nil {
		t.Fatal(err)
	}
	lone := stranger()
	eventually(t, 30*time.Second, "each replica counts alone", func() error {
		answers, err := e.burst(300, func(int) http.Header { return lone })
		if err != nil {
			return err
		}
		var errs []error
		for i := range e.replicas {
			var here []*http.Response
			for n := i; n < len(answers); n += len(e.replicas) {
				here = append(here, answers[n])
			}
			errs = append(errs, exactly(here, 60))
		}
		lone = stranger()
		return errors.Join(errs...)
	})
	patchStore(t, e.ns, "shop", func(s *v1alpha1.Store) { s.Spec.Paused = false })
	exact := 0
	eventually(t, time.Minute, "the replicas count together again, three times in a row", func() error {
		caller := stranger()
		answers, err := e.burst(100, func(int) http.Header { return caller })
		if err == nil {
			err = exactly(answers, 60)
		}
		if exact++; err != nil {
			exact = 0
		}
		if err == nil && exact < 3 {
			err = fmt.Errorf("%d times so far", exact)
		}
		return err
	})
	v := leave()
	t.Logf("meanwhile: %s", v)
	if v.answered[http.StatusOK] != v.requests() {
		t.Errorf("not every visitor was answered 200: %s", v)
	}
}

// visits are what visitors met with.
type visits struct {
	answered map[int]int
	errs     []error
	took     []time.Duration // the longest last
}

func (v visits) requests() int { return len(v.took) }

func (v visits) String() string {
	if len(v.took) == 0 {
		return "no request was sent"
	}
	errs := ""
	if len(v.errs) > 0 {
		errs = fmt.Sprintf(", %d errors, the first %v", len(v.errs), v.errs[0])
	}
	return fmt.Sprintf("%d requests, by status %v%s; half of them took %s, 99%% %s, the longest %s", len(v.took), v.answered, errs,
		v.took[len(v.took)/2].Round(time.Millisecond), v.took[len(v.took)*99/100].Round(time.Millisecond), v.took[len(v.took)-1].Round(time.Millisecond))
}

// visiting has visitors send requests, up to twenty a second each, until they
// are told to leave.
func visiting(t *testing.T, visitors int, request func(visitor int) (status int, err error)) (leave func() visits) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var all sync.WaitGroup
	v := visits{answered: map[int]int{}}
	for visitor := range visitors {
		all.Go(func() {
			ticker := time.NewTicker(50 * time.Millisecond)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				begun := time.Now()
				status, err := request(visitor)
				mu.Lock()
				v.took = append(v.took, time.Since(begun))
				if err != nil {
					v.errs = append(v.errs, err)
				} else {
					v.answered[status]++
				}
				mu.Unlock()
			}
		})
	}
	return func() visits {
		cancel()
		all.Wait()
		slices.Sort(v.took)
		return v
	}
}
