package payment

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// stripeAt is the provider of a store over a Stripe at a URL.
func stripeAt(t testing.TB, base string, secrets ...string) *viaStripe {
	t.Helper()
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns", URL: "https://shop.example", Mode: config.ModeDevelopment}
	c.Payments.Stripe = &config.Stripe{APIKeyFile: testbed.File(t, testbed.StripeKey+"\n"), PublishableKey: "pk_test_1", APIBase: base}
	for _, s := range secrets {
		c.Payments.Stripe.WebhookSecretFiles = append(c.Payments.Stripe.WebhookSecretFiles, testbed.File(t, s+"\n"))
	}
	return newStripe(c)
}

func euros(minor int64) money.Amount { return money.Amount{Minor: minor, Currency: "EUR"} }

func newRequest(token string) Request {
	return Request{ID: uuid.Must(uuid.NewV7()), OrderID: uuid.Must(uuid.NewV7()), Amount: euros(1999), Token: token}
}

func newOperation(kind openapi.PaymentOperationKind, minor int64) Operation {
	return Operation{ID: uuid.Must(uuid.NewV7()), Kind: kind, Amount: euros(minor)}
}

// TestStripesOwnDescriptionTakesWhatTheStoreSends has Stripe's stand-in judge
// every request that the store makes; what it answers is an example, of which
// only the form means anything.
func TestStripesOwnDescriptionTakesWhatTheStoreSends(t *testing.T) {
	t.Parallel()
	s := stripeAt(t, testbed.StripeMock(t))
	ctx := t.Context()
	f, err := s.Authorize(ctx, newRequest(""))
	if err != nil || !strings.HasPrefix(f.Reference, "pi_") || f.State != openapi.PaymentStateRequiresAction || f.Amount.Currency == "" {
		t.Errorf("without a token Stripe answers %+v, %v", f, err)
	}
	for _, token := range []string{"pm_card_visa", "ctoken_1"} { // the example still wants one
		if _, err := s.Authorize(ctx, newRequest(token)); err == nil || !strings.HasPrefix(err.Error(), "payment_declined") {
			t.Errorf("with the token %q Stripe answers %v", token, err)
		}
	}
	p := Payment{ID: uuid.Must(uuid.NewV7()), Reference: "pi_1", Amount: euros(1999)}
	for name, do := range map[string]func() (Facts, error){
		"a capture": func() (Facts, error) { return s.Capture(ctx, p, newOperation("capture", 1000)) },
		"a void":    func() (Facts, error) { return s.Void(ctx, p, newOperation("void", 1999)) },
		"a refund":  func() (Facts, error) { return s.Refund(ctx, p, newOperation("refund", 500)) },
		"a refund again": func() (Facts, error) {
			o := newOperation("refund", 500)
			o.Attempts = 1
			return s.Refund(ctx, p, o)
		},
		"a fetch": func() (Facts, error) { return s.Fetch(ctx, p.Reference) },
	} {
		if f, err := do(); err != nil || !strings.HasPrefix(f.Reference, "pi_") {
			t.Errorf("%s is answered %+v, %v", name, f, err)
		}
	}
	n := 0
	err = s.List(ctx, time.Now().Add(-time.Hour), time.Now(), func(f Facts) error {
		n++
		if !strings.HasPrefix(f.Reference, "pi_") {
			t.Errorf("a payment of the list is %+v", f)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d payments are listed, %v", n, err)
	}
	n = 0
	err = s.ListDisputes(ctx, time.Now().Add(-time.Hour), time.Now(), func(_ Facts, d Dispute) error {
		n++
		if d.ID == "" || d.Status == "" || d.Reason == "" || d.Amount.Currency == "" {
			t.Errorf("a dispute of the list is %+v", d)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d disputes are listed, %v", n, err)
	}
	if _, d, err := s.FetchDispute(ctx, "dp_1"); err != nil || d.ID == "" {
		t.Errorf("a dispute is %+v, %v", d, err)
	}
}

func TestWhatStripeAnswersIsUnderstood(t *testing.T) {
	t.Parallel()
	server := testbed.Stripe(t, time.Now)
	s := stripeAt(t, server.URL)
	ctx := t.Context()
	f, err := s.Authorize(ctx, newRequest("pm_card"))
	if err != nil || f.State != openapi.PaymentStateAuthorized || f.Amount != euros(1999) || f.Store != "ns/shop" || f.Captured != 0 {
		t.Fatalf("set aside is %+v, %v", f, err)
	}
	p := Payment{ID: f.PaymentID, Reference: f.Reference, Amount: f.Amount}
	if f, err = s.Capture(ctx, p, newOperation("capture", 1500)); err != nil || f.State != openapi.PaymentStateCaptured || f.Captured != 1500 {
		t.Errorf("captured is %+v, %v", f, err)
	}
	refund := newOperation("refund", 500)
	if f, err = s.Refund(ctx, p, refund); err != nil || f.Refunded != 500 || f.State != openapi.PaymentStateCaptured || f.Operation != "re_1" {
		t.Errorf("refunded in part is %+v, %v", f, err)
	}
	server.ForgetKeys()
	refund.Attempts = 1
	if f, err = s.Refund(ctx, p, refund); err != nil || f.Refunded != 500 || f.Operation != "re_1" {
		t.Errorf("asked again when Stripe has forgotten the key, it is %+v, %v", f, err)
	}
	if f, err = s.Refund(ctx, p, newOperation("refund", 1000)); err != nil || f.State != openapi.PaymentStateRefunded {
		t.Errorf("refunded is %+v, %v", f, err)
	}
	if _, err := s.Void(ctx, p, newOperation("void", 1999)); !isRefusal(err, "payment_intent_unexpected_state") {
		t.Errorf("a void of what is captured is answered %v", err)
	}
	for token, wantURL := range map[string]string{"pm_3ds": "", "pm_redirect": "https://bank.example/", "": ""} {
		f, err := s.Authorize(ctx, newRequest(token))
		if err != nil || f.State != openapi.PaymentStateRequiresAction || !f.Expires || *f.NextAction.ClientSecret == "" || *f.NextAction.PublishableKey != "pk_test_1" {
			t.Fatalf("with the token %q it is %+v, %v", token, f, err)
		}
		if url := f.NextAction.RedirectUrl; (url != nil) != (wantURL != "") || url != nil && !strings.HasPrefix(*url, wantURL) {
			t.Errorf("with the token %q the buyer is sent to %v", token, url)
		}
	}
	if _, err := s.Fetch(ctx, "pi_none"); !errors.Is(err, ErrNoPayment) {
		t.Errorf("a payment that is not there is answered %v", err)
	}
	n := 0
	if err := s.List(ctx, time.Now().Add(-time.Minute), time.Now().Add(time.Minute), func(Facts) error { n++; return nil }); err != nil || n != 4 {
		t.Errorf("of 4 payments on several pages %d are listed, %v", n, err)
	}
	var refunds []Event
	err = s.ListRefunds(ctx, time.Now().Add(-time.Minute), time.Now().Add(time.Minute), func(e Event) error { refunds = append(refunds, e); return nil })
	if err != nil || len(refunds) != 2 || refunds[0].Reference != p.Reference || refunds[0].FailedRefund != "" {
		t.Errorf("refunds %+v, %v", refunds, err)
	}
	server.MoveDispute(server.Dispute(p.Reference, 1500), "lost")
	for range 3 { // the first is on the second page
		server.Dispute(p.Reference, 100)
	}
	var disputes []Dispute
	err = s.ListDisputes(ctx, time.Now().Add(-time.Minute), time.Now().Add(time.Minute), func(f Facts, d Dispute) error {
		disputes = append(disputes, d)
		if f.Reference != p.Reference || f.Store != "ns/shop" || f.Refunded != 1500 {
			t.Errorf("a dispute's payment is %+v", f)
		}
		return nil
	})
	lost := Dispute{ID: "dp_1", Status: "lost", Reason: "fraudulent", Amount: euros(1500), Over: true}
	if err != nil || len(disputes) != 4 || disputes[0].ID != "dp_4" || disputes[0].Over || disputes[3] != lost {
		t.Errorf("disputes %+v, %v", disputes, err)
	}
	if f, d, err := s.FetchDispute(ctx, "dp_1"); err != nil || d != lost || f.Reference != p.Reference {
		t.Errorf("a dispute is %+v of %+v, %v", d, f, err)
	}
	if _, _, err := s.FetchDispute(ctx, "dp_none"); !errors.Is(err, ErrNoPayment) {
		t.Errorf("a dispute that is not there is answered %v", err)
	}
}

func isRefusal(err error, code string) bool {
	r, ok := errors.AsType[*Refusal](err)
	return ok && r.Code == code
}

func TestAPaymentThatIsNotMadeIsSaidWhy(t *testing.T) {
	t.Parallel()
	server := testbed.Stripe(t, time.Now)
	s := stripeAt(t, server.URL)
	for token, want := range map[string]struct {
		status int
		words  string
	}{
		"pm_declined": {http.StatusPaymentRequired, "payment_declined: The payment was declined (insufficient_funds)."},
		"pm_strange":  {http.StatusBadRequest, "invalid_request"},
		"4242424242":  {http.StatusBadRequest, "invalid_request"},
	} {
		_, err := s.Authorize(t.Context(), newRequest(token))
		p, ok := errors.AsType[*problem.Problem](err)
		if !ok || p.Status != want.status || !strings.HasPrefix(err.Error(), want.words) {
			t.Errorf("%s is answered %v", token, err)
		}
	}
	small := newRequest("pm_card")
	small.Amount.Minor = -1
	if _, err := s.Authorize(t.Context(), small); err == nil || !strings.HasPrefix(err.Error(), "payment_refused") {
		t.Errorf("an amount that Stripe does not take is answered %v", err)
	}
}

// TestWhatIsNotAnsweredIsNoRefusal is what decides whether it is asked again.
func TestWhatIsNotAnsweredIsNoRefusal(t *testing.T) {
	t.Parallel()
	for name, fate := range map[string]testbed.Fate{
		"an error of Stripe's": {Status: 500}, "too many requests": {Status: 429}, "a key that opens nothing": {Status: 401},
		"a connection that breaks": {DropBefore: true}, "an answer that does not come": {Wait: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testbed.Stripe(t, time.Now)
			s := stripeAt(t, server.URL)
			server.Judge(func(*http.Request, int) testbed.Fate { return fate })
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := s.Authorize(ctx, newRequest("pm_card"))
			if _, isProblem := errors.AsType[*problem.Problem](err); err == nil || isProblem {
				t.Errorf("a payment is answered %v", err)
			}
			_, err = s.Capture(ctx, Payment{Reference: "pi_1"}, newOperation("capture", 1))
			if _, refused := errors.AsType[*Refusal](err); err == nil || refused {
				t.Errorf("a capture is answered %v", err)
			}
		})
	}
}

func TestAWrongKeyIsNotQuoted(t *testing.T) {
	t.Parallel()
	server := testbed.Stripe(t, time.Now)
	c := config.Default()
	c.Payments.Stripe = &config.Stripe{APIKeyFile: testbed.File(t, "sk_live_OTHERSECRET"), APIBase: server.URL}
	s := newStripe(c)
	_, err := s.Authorize(t.Context(), newRequest("pm_card"))
	if !errors.Is(err, ErrKey) || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "  ") || !strings.Contains(err.Error(), "401") {
		t.Errorf("it is said as %v", err)
	}
	if err := os.WriteFile(s.APIKeyFile, []byte(testbed.StripeKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authorize(t.Context(), newRequest("pm_card")); err != nil {
		t.Errorf("with a key that was mended it is said as %v", err)
	}
	for name, file := range map[string]string{
		"no file": filepath.Join(t.TempDir(), "none"), "an empty file": testbed.File(t, "\n"), "two words": testbed.File(t, "sk_live_SECRET b"),
	} {
		c.Payments.Stripe.APIKeyFile = file
		_, err := newStripe(c).Authorize(t.Context(), newRequest("pm_card"))
		if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "payments.stripe.apiKeyFile") {
			t.Errorf("%s is said as %v", name, err)
		}
	}
	c.Payments.Stripe = &config.Stripe{WebhookSecretFiles: []string{os.DevNull}}
	if err := newStripe(c).Verify(nil, http.Header{}); err == nil || !strings.Contains(err.Error(), "webhookSecretFiles") {
		t.Errorf("an empty secret of events is said as %v", err)
	}
}

func TestAmountsAreStripesUnitsAndComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	for a, want := range map[money.Amount]int64{
		{Minor: 1999, Currency: "EUR"}: 1999, {Minor: 500, Currency: "JPY"}: 500, {Minor: 500, Currency: "ISK"}: 50000, {Minor: 700, Currency: "UGX"}: 70000,
		{Minor: 500, Currency: "MGA"}: 5, {Minor: 5120, Currency: "KWD"}: 5120,
	} {
		got, err := toStripe(a)
		if err != nil || got != want || fromStripe(got, a.Currency) != a.Minor {
			t.Errorf("%s are %d, %v, and come back as %d", a, got, err, fromStripe(got, a.Currency))
		}
	}
	for _, a := range []money.Amount{{Minor: 5125, Currency: "KWD"}, {Minor: 550, Currency: "MGA"}} {
		if _, err := toStripe(a); err == nil {
			t.Errorf("Stripe takes %s", a)
		}
	}
}

func TestOnlyWhatStripeSignedJustNowIsBelieved(t *testing.T) {
	t.Parallel()
	s := stripeAt(t, "http://127.0.0.1:1", "whsec_new", "whsec_old")
	raw := []byte(`{"id":"evt_1","object":"event","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","object":"payment_intent"}}}`)
	now := time.Now()
	for name, c := range map[string]struct {
		header string
		ok     bool
	}{
		"by the new secret":       {testbed.SignStripe(raw, "whsec_new", now), true},
		"by the old secret":       {testbed.SignStripe(raw, "whsec_old", now), true},
		"a while ago":             {testbed.SignStripe(raw, "whsec_new", now.Add(-4*time.Minute)), true},
		"too long ago":            {testbed.SignStripe(raw, "whsec_new", now.Add(-6*time.Minute)), false},
		"by another secret":       {testbed.SignStripe(raw, "whsec_other", now), false},
		"of another body":         {testbed.SignStripe(append([]byte(" "), raw...), "whsec_new", now), false},
		"with nothing":            {"", false},
		"with another time":       {strings.Replace(testbed.SignStripe(raw, "whsec_new", now.Add(-time.Second)), "t=", "t=1", 1), false},
		"with the scheme of none": {strings.Replace(testbed.SignStripe(raw, "whsec_new", now), "v1=", "v0=", 1), false},
	} {
		if err := s.Verify(raw, http.Header{"Stripe-Signature": {c.header}}); (err == nil) != c.ok {
			t.Errorf("signed %s it is answered %v", name, err)
		}
	}
	if err := stripeAt(t, "http://127.0.0.1:1").Verify(raw, http.Header{"Stripe-Signature": {testbed.SignStripe(raw, "", now)}}); err == nil {
		t.Error("without a secret an event is believed that is signed by the empty one")
	}
}

func TestASecretThatCannotBeReadHidesNoOther(t *testing.T) {
	t.Parallel()
	s := stripeAt(t, "http://127.0.0.1:1", "whsec_new", "whsec_old")
	if err := os.Remove(s.WebhookSecretFiles[0]); err != nil {
		t.Fatal(err)
	}
	raw := []byte(`{}`)
	if err := s.Verify(raw, http.Header{"Stripe-Signature": {testbed.SignStripe(raw, "whsec_old", time.Now())}}); err != nil {
		t.Errorf("signed by the secret that can be read it is answered %v", err)
	}
	// It may be right, and is to be sent again.
	err := s.Verify(raw, http.Header{"Stripe-Signature": {testbed.SignStripe(raw, "whsec_new", time.Now())}})
	if _, refused := errors.AsType[*problem.Problem](err); err == nil || refused || !strings.Contains(err.Error(), "webhookSecretFiles") {
		t.Errorf("signed by the secret that cannot be read it is answered %v", err)
	}
}

func TestAnEventNamesItsPayment(t *testing.T) {
	t.Parallel()
	s := &viaStripe{}
	of := func(object string) string {
		return `{"id":"evt_1","object":"event","type":"x","data":{"object":` + object + `}}`
	}
	for raw, want := range map[string]Event{
		of(`{"id":"pi_1","object":"payment_intent"}`):                                                           {Reference: "pi_1"},
		of(`{"id":"ch_1","object":"charge","payment_intent":"pi_2"}`):                                           {Reference: "pi_2"},
		of(`{"id":"ch_1","object":"charge","payment_intent":{"id":"pi_3","object":"payment_intent"}}`):          {Reference: "pi_3"},
		of(`{"id":"ch_1","object":"charge","payment_intent":null}`):                                             {},
		of(`{"id":"cus_1","object":"customer"}`):                                                                {},
		of(`{"id":"re_1","object":"refund","payment_intent":"pi_4","status":"succeeded"}`):                      {Reference: "pi_4"},
		of(`{"id":"re_1","object":"refund","payment_intent":"pi_4","status":"failed","failure_reason":"lost"}`): {Reference: "pi_4", FailedRefund: "re_1", Failure: "refund_failed: lost"},
		of(`{"id":"dp_1","object":"dispute","payment_intent":"pi_5","status":"needs_response","amount":1000,"currency":"eur","reason":"fraudulent"}`): {
			Reference: "pi_5", Dispute: Dispute{ID: "dp_1", Status: "needs_response", Reason: "fraudulent", Amount: money.Amount{Minor: 1000, Currency: "EUR"}},
		},
		of(`{"id":"dp_1","object":"dispute","payment_intent":{"id":"pi_5"},"status":"lost","amount":10,"currency":"jpy","reason":"general"}`): {
			Reference: "pi_5", Dispute: Dispute{ID: "dp_1", Status: "lost", Reason: "general", Amount: money.Amount{Minor: 10, Currency: "JPY"}, Over: true},
		},
		of(`{"id":"in_1","object":"invoice","amount":"none","reason":{"x":1}}`): {},
	} {
		want.ID, want.Type = "evt_1", "x"
		kept, keptErr := s.Keep([]byte(raw))
		if again, err := s.Read(kept); keptErr != nil || err != nil || again != want {
			t.Errorf("%s is kept as %s, %v, which is %+v, %v", raw, kept, keptErr, again, err)
		}
		if got, err := s.Read([]byte(raw)); err != nil || got != want {
			t.Errorf("%s is %+v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{
		``, `null`, `[]`, `{}`, `{"id":"evt_1"}`, `{"id":"evt_1","object":"event","type":""}`, of(`{"id":"../refunds","object":"payment_intent"}`),
		of(`{"id":"pi_1/capture","object":"payment_intent"}`), of(`{"id":"pi_1?x","object":"payment_intent"}`),
		`{"id":"` + strings.Repeat("a", 300) + `","object":"event","type":"x"}`, `{"id":"a\u0000","object":"event","type":"x"}`,
	} {
		if got, err := s.Read([]byte(raw)); err == nil {
			t.Errorf("%.80s is %+v", raw, got)
		}
	}
}

// FuzzEvents has decoders read anything: what they take is fit to be stored
// and to be asked for.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"id":"evt_1","object":"event","type":"x","data":{"object":{"id":"ch_1","object":"charge","payment_intent":{"id":"pi_3"}}}}`))
	f.Add([]byte(`{"id":"evt_1","object":"event","type":"x","data":{"object":{"id":"re_1","object":"refund","payment_intent":"pi_4","status":"failed","failure_reason":"a\u0000"}}}`))
	f.Add([]byte(`{"id":"evt_1","reference":"test_1","state":"captured","captured":5}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, hook := range map[string]Hook{"stripe": &viaStripe{}, "test": test{}} {
			e, err := hook.Read(raw)
			if err != nil {
				if _, ok := errors.AsType[*problem.Problem](err); !ok {
					t.Errorf("%s answers what no sender can read: %v", name, err)
				}
				continue
			}
			for _, text := range []string{e.ID, e.Type, e.Reference, e.FailedRefund, e.Failure} {
				if strings.ContainsRune(text, 0) || len(text) > 2000 || strings.ToValidUTF8(text, "") != text {
					t.Errorf("%s takes %q", name, text)
				}
			}
			if e.ID == "" || name == "stripe" && e.Reference != "" && (!strings.HasPrefix(e.Reference, "pi_") || strings.ContainsAny(e.Reference, "/?#")) {
				t.Errorf("%s takes %+v", name, e)
			}
		}
	})
}

// FuzzSignatures has headers of any kind be checked: none that is not made
// with the secret is taken.
func FuzzSignatures(f *testing.F) {
	s := &viaStripe{Stripe: config.Stripe{WebhookSecretFiles: []string{testbed.File(f, testbed.StripeSecret)}}}
	f.Add([]byte("{}"), "t=1,v1=00")
	f.Add([]byte("{}"), "t=,v1=,v1=ff")
	f.Add([]byte(""), testbed.SignStripe([]byte("x"), "whsec_other", time.Now()))
	f.Add([]byte("{}"), "t=99999999999999999999,v1="+strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, raw []byte, header string) {
		if s.Verify(raw, http.Header{"Stripe-Signature": {header}}) == nil {
			t.Errorf("%q is believed by %q", raw, header)
		}
		if (test{}).Verify(raw, http.Header{TestSignature: {header}}) == nil && header != SignTest(raw) {
			t.Errorf("%q is believed by %q", raw, header)
		}
	})
}
