package testbed

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// StripeServer is a Stripe of a test's own, which remembers: payment intents,
// refunds, disputes and idempotency keys, as far as the store uses them.
type StripeServer struct {
	// URL is the API's base.
	URL string

	mu       sync.Mutex
	now      func() time.Time
	judge    func(r *http.Request, n int) Fate
	calls    int
	late     int
	intents  []*Intent
	refunds  []*StripeRefund
	disputes []*StripeDispute
	answers  map[string]stripeAnswer
	keys     map[string]int
	events   int
}

// Fate is what becomes of a request.
type Fate struct {
	// Status refuses it, above 0, without doing it. Of a request with a key a 500
	// is answered again for the key, as Stripe does; 503 is of a proxy before it.
	Status int
	// Drop hangs up: before doing it, or after.
	DropBefore, DropAfter bool
	// Wait is what it waits for first, nil for nothing.
	Wait <-chan struct{}
	// Late is what its answer waits for when it is done, nil for nothing.
	Late <-chan struct{}
}

// Intent is a payment intent.
type Intent struct {
	ID, Status, Currency                         string
	Amount, Received, Refunded                   int64
	Created                                      time.Time
	Metadata                                     map[string]string
	Confirmed, Redirects, FailsRefunds, Vanished bool
}

// StripeRefund is a refund.
type StripeRefund struct {
	ID, Intent, Status string
	Amount             int64
	Created            time.Time
	Metadata           map[string]string
}

// StripeDispute is a chargeback, of a payment intent in its currency.
type StripeDispute struct {
	ID, Intent, Status string
	Amount             int64
	Created            time.Time
}

type stripeAnswer struct {
	status int
	body   []byte
	form   string
}

// StripeKey is the secret key that the server takes, and StripeSecret what it
// signs events with.
const (
	StripeKey    = "sk_test_STRIPESECRET"
	StripeSecret = "whsec_STRIPESECRET" //nolint:gosec // it is nobody's
)

// Stripe starts a server for the test. Its tokens are pm_card, which is set
// aside at once, pm_3ds and pm_redirect, for which the buyer has something to
// do, and pm_declined; another is not known.
func Stripe(t testing.TB, now func() time.Time) *StripeServer {
	t.Helper()
	s := &StripeServer{now: now, answers: map[string]stripeAnswer{}, keys: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Judge has a function say what becomes of each request, of which n-1 came
// before; nil lets all be done.
func (s *StripeServer) Judge(f func(r *http.Request, n int) Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge, s.calls = f, 0
}

// Answered is how many requests are done whose answers are late.
func (s *StripeServer) Answered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.late
}

// Do changes an intent as something at Stripe does, and returns it.
func (s *StripeServer) Do(id string, change func(*Intent)) Intent {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.intent(id)
	if i == nil {
		return Intent{}
	}
	if change != nil {
		change(i)
	}
	return *i
}

// Add makes an intent that the store did not ask for.
func (s *StripeServer) Add(i Intent) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.ID = fmt.Sprintf("pi_%d", len(s.intents)+1)
	if i.Created.IsZero() {
		i.Created = s.now()
	}
	s.intents = append(s.intents, &i)
	return i.ID
}

// Intents are all that were made, in their order.
func (s *StripeServer) Intents() (all []Intent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.intents {
		all = append(all, *i)
	}
	return all
}

// Refunds are all that were made, in their order.
func (s *StripeServer) Refunds() (all []StripeRefund) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.refunds {
		all = append(all, *r)
	}
	return all
}

// Refund gives an amount back by somebody's hand at Stripe.
func (s *StripeServer) Refund(intent string, amount int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.giveBack(s.intent(intent), amount, nil).ID
}

func (s *StripeServer) giveBack(i *Intent, amount int64, metadata map[string]string) *StripeRefund {
	i.Refunded += amount
	r := &StripeRefund{ID: fmt.Sprintf("re_%d", len(s.refunds)+1), Intent: i.ID, Status: "succeeded", Amount: amount, Created: s.now(), Metadata: metadata}
	s.refunds = append(s.refunds, r)
	return r
}

// FailRefund has a refund fail that was made.
func (s *StripeServer) FailRefund(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.refunds {
		if r.ID == id && r.Status == "succeeded" {
			r.Status = "failed"
			s.intent(r.Intent).Refunded -= r.Amount
		}
	}
}

// Dispute has a buyer's bank ask for an amount back.
func (s *StripeServer) Dispute(intent string, amount int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &StripeDispute{ID: fmt.Sprintf("dp_%d", len(s.disputes)+1), Intent: intent, Status: "needs_response", Amount: amount, Created: s.now()}
	s.disputes = append(s.disputes, d)
	return d.ID
}

// MoveDispute gives a dispute a status.
func (s *StripeServer) MoveDispute(id, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispute(id).Status = status
}

func (s *StripeServer) dispute(id string) *StripeDispute {
	for _, d := range s.disputes {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// ForgetKeys is what Stripe does after a day.
func (s *StripeServer) ForgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.answers)
}

// Keys are how often something was done, by idempotency key.
func (s *StripeServer) Keys() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for key, n := range s.keys {
		counts[key] = n
	}
	return counts
}

// Event is an event about an object as it is now, with a new id.
func (s *StripeServer) Event(kind, id string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events++
	var object any
	switch {
	case strings.HasPrefix(id, "re_"):
		for _, r := range s.refunds {
			if r.ID == id {
				object = r.public()
			}
		}
	case s.dispute(id) != nil:
		object = s.disputed(s.dispute(id), nil)
	case s.intent(id) != nil:
		object = s.intent(id).public()
	default:
		object = map[string]any{"id": id, "object": "payment_intent"}
	}
	raw, err := json.Marshal(map[string]any{
		"id": fmt.Sprintf("evt_%d", s.events), "object": "event", "type": kind, "api_version": "2020-08-27", "created": s.now().Unix(),
		"data": map[string]any{"object": object},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

// SignStripe is the header Stripe-Signature of an event that is sent at a
// moment; real time is what it is compared with.
func SignStripe(raw []byte, secret string, at time.Time) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%d.%s", at.Unix(), raw)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

func (s *StripeServer) intent(id string) *Intent {
	for _, i := range s.intents {
		if i.ID == id {
			return i
		}
	}
	return nil
}

func (i *Intent) public() map[string]any {
	p := map[string]any{
		"id": i.ID, "object": "payment_intent", "status": i.Status, "amount": i.Amount, "amount_received": i.Received, "currency": i.Currency,
		"created": i.Created.Unix(), "metadata": i.Metadata, "client_secret": i.ID + "_secret_BUYERSECRET", "capture_method": "manual",
	}
	if i.Received > 0 {
		p["latest_charge"] = map[string]any{"id": "ch_" + i.ID, "object": "charge", "amount_captured": i.Received, "amount_refunded": i.Refunded}
	}
	if i.Status == "requires_action" {
		next := map[string]any{"type": "use_stripe_sdk"}
		if i.Redirects {
			next = map[string]any{"type": "redirect_to_url", "redirect_to_url": map[string]any{"url": "https://bank.example/" + i.ID}}
		}
		p["next_action"] = next
	}
	return p
}

func (r *StripeRefund) public() map[string]any {
	return map[string]any{"id": r.ID, "object": "refund", "payment_intent": r.Intent, "amount": r.Amount, "status": r.Status, "metadata": r.Metadata, "failure_reason": "expired_or_canceled_card"}
}

// disputed is a dispute, with the whole of its intent where the form of a
// request asks for that.
func (s *StripeServer) disputed(d *StripeDispute, form url.Values) map[string]any {
	i := s.intent(d.Intent)
	p := map[string]any{
		"id": d.ID, "object": "dispute", "payment_intent": d.Intent, "status": d.Status, "amount": d.Amount, "currency": i.Currency, "reason": "fraudulent",
		"created": d.Created.Unix(),
	}
	if strings.Contains(form.Get("expand[0]"), "payment_intent") {
		p["payment_intent"] = i.public()
	}
	return p
}

func (s *StripeServer) serve(w http.ResponseWriter, r *http.Request) {
	// First, for who hangs up is noticed only when the body is read.
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.calls++
	fate := Fate{}
	if s.judge != nil {
		fate = s.judge(r, s.calls)
	}
	s.mu.Unlock()
	if fate.Wait != nil {
		select {
		case <-fate.Wait:
		case <-r.Context().Done():
			return
		}
	}
	if fate.DropBefore {
		panic(http.ErrAbortHandler)
	}
	if fate.Status > 0 {
		s.fail(w, r, fate.Status)
		return
	}
	a := s.answer(r)
	if fate.Late != nil {
		s.mu.Lock()
		s.late++
		s.mu.Unlock()
		select {
		case <-fate.Late:
		case <-r.Context().Done():
			return
		}
	}
	if fate.DropAfter {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func (s *StripeServer) fail(w http.ResponseWriter, r *http.Request, status int) {
	a := stripeAnswer{status: status, body: stripeError("api_error", "", "", "no"), form: r.Form.Encode()}
	if key := r.Header.Get("Idempotency-Key"); key != "" && r.Method == http.MethodPost && status == http.StatusInternalServerError {
		s.mu.Lock()
		if _, before := s.answers[key]; !before {
			s.answers[key] = a
		}
		s.mu.Unlock()
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// answer does a request, once for its key.
func (s *StripeServer) answer(r *http.Request) stripeAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+StripeKey {
		return refuse(http.StatusUnauthorized, "invalid_request_error", "", "", "Invalid API Key provided: "+r.Header.Get("Authorization"))
	}
	key := r.Header.Get("Idempotency-Key")
	if r.Method != http.MethodPost {
		key = ""
	}
	if before, ok := s.answers[key]; ok && key != "" {
		if before.form != r.Form.Encode() {
			return refuse(http.StatusBadRequest, "idempotency_error", "", "", "Keys can only be used with the same parameters.")
		}
		return before
	}
	a := s.route(r)
	if key != "" {
		a.form = r.Form.Encode()
		s.answers[key] = a
		if a.status < 300 {
			s.keys[key]++
		}
	}
	return a
}

func (s *StripeServer) route(r *http.Request) stripeAnswer {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	switch {
	case r.URL.Path == "/v1/payment_intents" && r.Method == http.MethodPost:
		return s.create(r.Form)
	case r.URL.Path == "/v1/payment_intents":
		return s.list(r.Form)
	case r.URL.Path == "/v1/refunds" && r.Method == http.MethodPost:
		return s.refund(r.Form)
	case r.URL.Path == "/v1/refunds":
		return s.listRefunds(r.Form)
	case r.URL.Path == "/v1/disputes":
		return s.listDisputes(r.Form)
	case parts[0] == "disputes" && len(parts) == 2:
		d := s.dispute(parts[1])
		if d == nil {
			return refuse(http.StatusNotFound, "invalid_request_error", "resource_missing", "id", "No such dispute: "+parts[1])
		}
		return accept(s.disputed(d, r.Form))
	case parts[0] != "payment_intents" || len(parts) < 2:
		return refuse(http.StatusNotFound, "invalid_request_error", "", "", "Unrecognized request URL")
	}
	i := s.intent(parts[1])
	if i == nil || i.Vanished {
		return refuse(http.StatusNotFound, "invalid_request_error", "resource_missing", "intent", "No such payment_intent: "+parts[1])
	}
	if len(parts) == 2 {
		return accept(i.public())
	}
	return i.move(parts[2], r.Form)
}

func (i *Intent) move(verb string, form url.Values) stripeAnswer {
	unexpected := refuse(http.StatusBadRequest, "invalid_request_error", "payment_intent_unexpected_state", "",
		"You cannot "+verb+" this PaymentIntent because it has a status of "+i.Status+".")
	switch verb {
	case "capture":
		amount, err := strconv.ParseInt(form.Get("amount_to_capture"), 10, 64)
		if i.Status != "requires_capture" || err != nil || amount > i.Amount {
			return unexpected
		}
		i.Status, i.Received = "succeeded", amount
	case "cancel":
		if i.Status == "succeeded" || i.Status == "canceled" || i.Status == "processing" {
			return unexpected
		}
		i.Status = "canceled"
	}
	return accept(i.public())
}

func (s *StripeServer) create(form url.Values) stripeAnswer {
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	if err != nil || amount < 1 || form.Get("capture_method") != "manual" {
		return refuse(http.StatusBadRequest, "invalid_request_error", "amount_too_small", "amount", "No.")
	}
	i := &Intent{
		ID: fmt.Sprintf("pi_%d", len(s.intents)+1), Status: "requires_payment_method", Amount: amount, Currency: form.Get("currency"), Created: s.now(),
		Metadata: metadata(form), Confirmed: form.Get("confirm") == "true",
	}
	switch form.Get("payment_method") {
	case "":
	case "pm_card":
		i.Status = "requires_capture"
	case "pm_3ds":
		i.Status = "requires_action"
	case "pm_redirect":
		i.Status, i.Redirects = "requires_action", true
	case "pm_declined":
		s.intents = append(s.intents, i)
		return refuse(http.StatusPaymentRequired, "card_error", "card_declined", "", "Your card was declined.", "insufficient_funds")
	default:
		return refuse(http.StatusBadRequest, "invalid_request_error", "resource_missing", "payment_method", "No such PaymentMethod.")
	}
	s.intents = append(s.intents, i)
	return accept(i.public())
}

func (s *StripeServer) refund(form url.Values) stripeAnswer {
	i := s.intent(form.Get("payment_intent"))
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	switch {
	case i == nil || i.Vanished:
		return refuse(http.StatusNotFound, "invalid_request_error", "resource_missing", "payment_intent", "No such payment_intent.")
	case i.FailsRefunds:
		return refuse(http.StatusBadRequest, "invalid_request_error", "charge_disputed", "", "The charge is disputed.")
	case err != nil || amount < 1 || i.Refunded+amount > i.Received:
		return refuse(http.StatusBadRequest, "invalid_request_error", "charge_already_refunded", "amount", "Refund amount is greater than the unrefunded amount.")
	}
	return accept(s.giveBack(i, amount, metadata(form)).public())
}

// page is a part of a list of all, the newest first, as the form of a request
// asks for it: 3 at most, so that there are pages.
func page[T any](all []T, form url.Values, id func(T) string, created func(T) time.Time, public func(T) map[string]any, wanted func(T) bool) map[string]any {
	bound := func(name string, otherwise int64) int64 {
		n, err := strconv.ParseInt(form.Get(name), 10, 64)
		if err != nil {
			return otherwise
		}
		return n
	}
	limit, after := int(bound("limit", 10)), form.Get("starting_after")
	data := []any{}
	more, begun := false, after == ""
	for _, one := range slices.Backward(all) {
		if at := created(one).Unix(); !begun || at < bound("created[gte]", 0) || at >= bound("created[lt]", math.MaxInt64) || !wanted(one) {
			begun = begun || id(one) == after
			continue
		}
		if len(data) == min(limit, 3) {
			more = true
			break
		}
		data = append(data, public(one))
	}
	return map[string]any{"object": "list", "data": data, "has_more": more}
}

func (s *StripeServer) list(form url.Values) stripeAnswer {
	return accept(page(s.intents, form, func(i *Intent) string { return i.ID }, func(i *Intent) time.Time { return i.Created }, (*Intent).public,
		func(i *Intent) bool { return !i.Vanished }))
}

func (s *StripeServer) listRefunds(form url.Values) stripeAnswer {
	of := form.Get("payment_intent")
	return accept(page(s.refunds, form, func(r *StripeRefund) string { return r.ID }, func(r *StripeRefund) time.Time { return r.Created }, (*StripeRefund).public,
		func(r *StripeRefund) bool { return of == "" || r.Intent == of }))
}

func (s *StripeServer) listDisputes(form url.Values) stripeAnswer {
	return accept(page(s.disputes, form, func(d *StripeDispute) string { return d.ID }, func(d *StripeDispute) time.Time { return d.Created },
		func(d *StripeDispute) map[string]any { return s.disputed(d, form) }, func(*StripeDispute) bool { return true }))
}

func metadata(form url.Values) map[string]string {
	all := map[string]string{}
	for name := range form {
		if key, ok := strings.CutPrefix(name, "metadata["); ok {
			all[strings.TrimSuffix(key, "]")] = form.Get(name)
		}
	}
	return all
}

func accept(v any) stripeAnswer {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return stripeAnswer{status: http.StatusOK, body: body}
}

func refuse(status int, kind, code, param, message string, decline ...string) stripeAnswer {
	return stripeAnswer{status: status, body: stripeError(kind, code, param, message, decline...)}
}

func stripeError(kind, code, param, message string, decline ...string) []byte {
	e := map[string]any{"type": kind, "message": message}
	for name, value := range map[string]string{"code": code, "param": param, "decline_code": strings.Join(decline, "")} {
		if value != "" {
			e[name] = value
		}
	}
	body, err := json.Marshal(map[string]any{"error": e})
	if err != nil {
		panic(err)
	}
	return body
}

// StripeMock starts Stripe's own stand-in, which holds requests to the
// description of Stripe's API and answers by it, and returns its base.
func StripeMock(t testing.TB) string {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "run", "./hack/build", "tool", "stripe-mock")
	build.Dir = filepath.Join("..", "..", "..")
	var trouble bytes.Buffer
	build.Stderr = &trouble
	out, err := build.Output()
	if err != nil {
		t.Fatalf("building stripe-mock: %v\n%s", err, &trouble)
	}
	port := freePort(t)
	mock := exec.Command(strings.TrimSpace(string(out)), "-http-addr", "127.0.0.1:"+port)
	mock.Stdout, mock.Stderr = &trouble, &trouble
	if err := mock.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = mock.Process.Kill()
		_ = mock.Wait()
	})
	base := "http://127.0.0.1:" + port
	Eventually(t, "stripe-mock answers", func() bool {
		r, err := http.Get(base + "/v1/balance") //nolint:noctx // it is this machine's
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return true
	})
	return base
}
