package payment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/stripe/stripe-go/v82"
	"github.com/stripe/stripe-go/v82/webhook"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// What a payment intent and a refund carry, so that they are known again.
const (
	metaStore     = "gocart_store"
	metaPayment   = "gocart_payment"
	metaOrder     = "gocart_order"
	metaOperation = "gocart_operation"
)

// latestCharge has what was given back; it comes only where it is asked for.
const latestCharge = "latest_charge"

// viaStripe is Stripe: a payment is a payment intent that is captured apart. The
// files of its secrets are read when they are needed: a changed one needs no new
// process, and a process that asks Stripe nothing needs none.
type viaStripe struct {
	config.Stripe
	// store is namespace/name.
	store, returnURL string

	mu     sync.Mutex
	key    string
	client *stripe.Client
}

var _ interface {
	Elsewhere
	Hook
} = (*viaStripe)(nil)

// stripeTimeout bounds one request, of which two are made where the first is
// not answered.
const stripeTimeout = 8 * time.Second

func newStripe(c config.Config) *viaStripe {
	return &viaStripe{Stripe: *c.Payments.Stripe, store: storeName(c), returnURL: c.Store.URL}
}

// api is a client with the key of now.
func (s *viaStripe) api() (*stripe.Client, error) {
	key, err := secret("payments.stripe.apiKeyFile", s.APIKeyFile)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == key {
		return s.client, nil
	}
	backend := &stripe.BackendConfig{
		EnableTelemetry:   stripe.Bool(false),
		HTTPClient:        &http.Client{Timeout: stripeTimeout},
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull}, // what is worth it is logged here
		MaxNetworkRetries: stripe.Int64(1),
	}
	if s.APIBase != "" {
		backend.URL = stripe.String(s.APIBase)
	}
	s.key, s.client = key, stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(backend)))
	return s.client, nil
}

// secret reads a file; its error tells nothing of what is in it.
func secret(key, file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" || strings.ContainsAny(text, " \t\r\n") {
		return "", fmt.Errorf("%s: %s must hold one word, and nothing else", key, file)
	}
	return text, nil
}

// Authorize makes a payment intent: confirmed at once with a token, else to be
// confirmed by the buyer in Stripe's form.
func (s *viaStripe) Authorize(ctx context.Context, r Request) (Facts, error) {
	amount, err := toStripe(r.Amount)
	if err != nil {
		return Facts{}, unsent{err}
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount: stripe.Int64(amount), Currency: stripe.String(strings.ToLower(r.Amount.Currency)),
		CaptureMethod:           stripe.String(string(stripe.PaymentIntentCaptureMethodManual)),
		AutomaticPaymentMethods: &stripe.PaymentIntentCreateAutomaticPaymentMethodsParams{Enabled: stripe.Bool(true)},
		Metadata:                map[string]string{metaStore: s.store, metaPayment: r.ID.String(), metaOrder: r.OrderID.String()},
		Expand:                  []*string{stripe.String(latestCharge)},
	}
	params.SetIdempotencyKey("gocart-" + r.ID.String())
	switch {
	case strings.HasPrefix(r.Token, "pm_"):
		params.PaymentMethod = stripe.String(r.Token)
	case strings.HasPrefix(r.Token, "ctoken_"):
		params.ConfirmationToken = stripe.String(r.Token)
	case r.Token != "":
		return Facts{}, unsent{problem.Invalid(problem.Field{Pointer: "/payment/token", Detail: "must be a payment method (pm_…) or a confirmation token (ctoken_…) of Stripe, or left out"})}
	}
	if r.Token != "" {
		params.Confirm, params.ReturnURL = stripe.Bool(true), stripe.String(s.returnURL)
	}
	client, err := s.api()
	if err != nil {
		return Facts{}, err
	}
	intent, err := client.V1PaymentIntents.Create(ctx, params)
	if err != nil {
		return Facts{}, notAuthorized(err)
	}
	facts := s.facts(intent)
	if r.Token != "" && intent.Status == stripe.PaymentIntentStatusRequiresPaymentMethod { // it was declined without an error
		return Facts{}, declined("")
	}
	return facts, nil
}

// notAuthorized is what a buyer is told of an error.
func notAuthorized(err error) error {
	e, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		return unanswered(err)
	}
	said := translate(err)
	refused, definite := errors.AsType[*Refusal](said)
	switch {
	case !definite:
		return said
	case e.Type == stripe.ErrorTypeCard:
		return declined(refused.Code)
	case e.Param == "payment_method" || e.Param == "confirmation_token":
		return problem.Invalid(problem.Field{Pointer: "/payment/token", Detail: "is not one that Stripe takes for this payment: " + refused.Code})
	}
	return problem.New(http.StatusPaymentRequired, "payment_refused", "Stripe does not take this payment (%s). Nothing was bought; try another way to pay.", refused.Code)
}

// unanswered is an error after which nobody knows what was done. It has no
// words of Stripe's, which may quote a key.
func unanswered(err error) error {
	if e, ok := errors.AsType[*stripe.Error](err); ok {
		words := []string{"stripe answered", strconv.Itoa(e.HTTPStatusCode), string(e.Type), string(e.Code)}
		if e.RequestID != "" {
			words = append(words, "to the request", e.RequestID)
		}
		return errors.New(strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
	}
	return fmt.Errorf("stripe did not answer: %w", err)
}

// translate tells what Stripe refuses for good, as a *Refusal, from what may
// work later.
func translate(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		return unanswered(err)
	}
	switch status := e.HTTPStatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrKey, unanswered(err))
	case e.Code == stripe.ErrorCodeResourceMissing:
		return fmt.Errorf("%w: %w", ErrNoPayment, &Refusal{Code: string(e.Code)})
	case e.Code == stripe.ErrorCodeLockTimeout, e.Type == stripe.ErrorTypeIdempotency && status == http.StatusConflict:
		return unanswered(err)
	case status == http.StatusBadRequest, status == http.StatusPaymentRequired, status == http.StatusNotFound:
		refused := &Refusal{Code: string(e.Code), Detail: plain(e.Msg)}
		if e.DeclineCode != "" {
			refused.Code = string(e.DeclineCode)
		}
		if refused.Code == "" {
			refused.Code = string(e.Type)
		}
		return refused
	}
	return unanswered(err)
}

// plain is text that can be stored and shown: 300 characters at most.
func plain(s string) string {
	all := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
	return string(all[:min(len(all), 300)])
}

// keyOfAttempt is another key each time that is asked: under one Stripe answers
// for a day what it did first, an error of its own too. It is for what can be done
// once anyway, and is known when it was.
func (o Operation) keyOfAttempt() string {
	if o.Attempts == 0 {
		return "gocart-" + o.ID.String()
	}
	return fmt.Sprintf("gocart-%s-%d", o.ID, o.Attempts)
}

// Capture takes an amount, and sets the rest free.
func (s *viaStripe) Capture(ctx context.Context, p Payment, o Operation) (Facts, error) {
	amount, err := toStripe(o.Amount)
	if err != nil {
		return Facts{}, err
	}
	params := &stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(amount), Expand: []*string{stripe.String(latestCharge)}}
	params.SetIdempotencyKey(o.keyOfAttempt())
	client, err := s.api()
	if err != nil {
		return Facts{}, err
	}
	intent, err := client.V1PaymentIntents.Capture(ctx, p.Reference, params)
	if err != nil {
		return Facts{}, translate(err)
	}
	return s.facts(intent), nil
}

// Void cancels the payment intent.
func (s *viaStripe) Void(ctx context.Context, p Payment, o Operation) (Facts, error) {
	params := &stripe.PaymentIntentCancelParams{Expand: []*string{stripe.String(latestCharge)}}
	params.SetIdempotencyKey(o.keyOfAttempt())
	client, err := s.api()
	if err != nil {
		return Facts{}, err
	}
	intent, err := client.V1PaymentIntents.Cancel(ctx, p.Reference, params)
	if err != nil {
		return Facts{}, translate(err)
	}
	return s.facts(intent), nil
}

// Refund gives an amount back, under one key however often it is asked, for two
// would be two refunds. Stripe knows a key for a day; so what was asked for before
// is looked for first.
func (s *viaStripe) Refund(ctx context.Context, p Payment, o Operation) (Facts, error) {
	client, err := s.api()
	if err != nil {
		return Facts{}, err
	}
	if o.Attempts > 0 {
		made, err := refundOf(ctx, client, p, o)
		if err != nil || made != nil {
			return s.refunded(ctx, p, made, err)
		}
	}
	amount, err := toStripe(o.Amount)
	if err != nil {
		return Facts{}, err
	}
	params := &stripe.RefundCreateParams{
		PaymentIntent: stripe.String(p.Reference), Amount: stripe.Int64(amount),
		Metadata: map[string]string{metaStore: s.store, metaPayment: p.ID.String(), metaOperation: o.ID.String()},
	}
	params.SetIdempotencyKey("gocart-" + o.ID.String())
	made, err := client.V1Refunds.Create(ctx, params)
	return s.refunded(ctx, p, made, translate(err))
}

func refundOf(ctx context.Context, client *stripe.Client, p Payment, o Operation) (*stripe.Refund, error) {
	params := &stripe.RefundListParams{PaymentIntent: stripe.String(p.Reference)}
	params.Limit = stripe.Int64(100)
	for r, err := range client.V1Refunds.List(ctx, params) {
		if err != nil {
			return nil, translate(err)
		}
		if r.Metadata[metaOperation] == o.ID.String() {
			return r, nil
		}
	}
	return nil, nil
}

// refunded are the facts after a refund.
func (s *viaStripe) refunded(ctx context.Context, p Payment, made *stripe.Refund, err error) (Facts, error) {
	if err != nil {
		return Facts{}, err
	}
	if made.Status == stripe.RefundStatusFailed || made.Status == stripe.RefundStatusCanceled {
		return Facts{}, &Refusal{Code: "refund_" + string(made.Status), Detail: string(made.FailureReason)}
	}
	facts, err := s.Fetch(ctx, p.Reference)
	if err != nil { // it is made; how the payment stands is learned later
		facts = Facts{}
	}
	facts.Operation = made.ID
	return facts, nil
}

// Fetch reads a payment intent.
func (s *viaStripe) Fetch(ctx context.Context, reference string) (Facts, error) {
	client, err := s.api()
	if err != nil {
		return Facts{}, err
	}
	intent, err := client.V1PaymentIntents.Retrieve(ctx, reference, &stripe.PaymentIntentRetrieveParams{Expand: []*string{stripe.String(latestCharge)}})
	if err != nil {
		return Facts{}, translate(err)
	}
	return s.facts(intent), nil
}

// List goes through payment intents, the newest first: Stripe's search is
// behind, its lists are not.
func (s *viaStripe) List(ctx context.Context, from, before time.Time, each func(Facts) error) error {
	client, err := s.api()
	if err != nil {
		return err
	}
	params := &stripe.PaymentIntentListParams{
		CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: from.Unix(), LesserThan: before.Unix()},
	}
	params.Limit = stripe.Int64(100)
	params.Expand = []*string{stripe.String("data." + latestCharge)}
	for intent, err := range client.V1PaymentIntents.List(ctx, params) {
		if err != nil {
			return translate(err)
		}
		if err := each(s.facts(intent)); err != nil {
			return err
		}
	}
	return nil
}

// ListRefunds goes through refunds, the newest first.
func (s *viaStripe) ListRefunds(ctx context.Context, from, before time.Time, each func(Event) error) error {
	client, err := s.api()
	if err != nil {
		return err
	}
	params := &stripe.RefundListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: from.Unix(), LesserThan: before.Unix()}}
	params.Limit = stripe.Int64(100)
	for r, err := range client.V1Refunds.List(ctx, params) {
		if err != nil {
			return translate(err)
		}
		if r.PaymentIntent == nil {
			continue
		}
		e := Event{Reference: r.PaymentIntent.ID}
		e.refund(r.ID, r.Status, string(r.FailureReason))
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// ListDisputes goes through disputes, the newest first.
func (s *viaStripe) ListDisputes(ctx context.Context, from, before time.Time, each func(Facts, Dispute) error) error {
	client, err := s.api()
	if err != nil {
		return err
	}
	params := &stripe.DisputeListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: from.Unix(), LesserThan: before.Unix()}}
	params.Limit = stripe.Int64(100)
	params.Expand = []*string{stripe.String("data.payment_intent." + latestCharge)}
	for d, err := range client.V1Disputes.List(ctx, params) {
		if err != nil {
			return translate(err)
		}
		if err := each(s.disputed(d)); err != nil {
			return err
		}
	}
	return nil
}

// FetchDispute reads a dispute.
func (s *viaStripe) FetchDispute(ctx context.Context, reference string) (Facts, Dispute, error) {
	client, err := s.api()
	if err != nil {
		return Facts{}, Dispute{}, err
	}
	read, err := client.V1Disputes.Retrieve(ctx, reference, &stripe.DisputeRetrieveParams{Expand: []*string{stripe.String("payment_intent." + latestCharge)}})
	if err != nil {
		return Facts{}, Dispute{}, translate(err)
	}
	f, d := s.disputed(read)
	return f, d, nil
}

// disputed are a dispute and its payment; a charge that no payment intent made
// is none of a store's.
func (s *viaStripe) disputed(d *stripe.Dispute) (f Facts, of Dispute) {
	if d.PaymentIntent != nil {
		f = s.facts(d.PaymentIntent)
	}
	told := stripeDispute{stripeObject: stripeObject{ID: d.ID, Status: string(d.Status)}, Amount: d.Amount, Currency: string(d.Currency), Reason: string(d.Reason)}
	return f, told.dispute()
}

// refund notes that a refund failed, where it did.
func (e *Event) refund(id string, status stripe.RefundStatus, why string) {
	if status != stripe.RefundStatusFailed && status != stripe.RefundStatusCanceled {
		return
	}
	e.FailedRefund, e.Failure = id, "refund_"+string(status)
	if why != "" {
		e.Failure += ": " + plain(why)
	}
}

// facts are how a payment intent stands.
func (s *viaStripe) facts(intent *stripe.PaymentIntent) Facts {
	currency := strings.ToUpper(string(intent.Currency))
	f := Facts{
		Reference: intent.ID, State: stateOf(intent), Captured: fromStripe(intent.AmountReceived, currency), Store: intent.Metadata[metaStore],
		Amount: money.Amount{Minor: fromStripe(intent.Amount, currency), Currency: currency},
	}
	f.PaymentID, _ = uuid.Parse(intent.Metadata[metaPayment]) // nobody's is uuid.Nil
	if intent.LatestCharge != nil {
		f.Refunded = fromStripe(intent.LatestCharge.AmountRefunded, currency)
	}
	if f.Captured > 0 && f.Captured == f.Refunded {
		f.State = openapi.PaymentStateRefunded
	}
	if f.State == openapi.PaymentStateRequiresAction {
		f.Expires = true
		f.NextAction = &openapi.PaymentAction{
			Type: openapi.PaymentActionTypeStripe, ClientSecret: optional.Of(intent.ClientSecret), PublishableKey: optional.Of(s.PublishableKey),
		}
		if n := intent.NextAction; n != nil && n.RedirectToURL != nil {
			f.NextAction.RedirectUrl = optional.Of(n.RedirectToURL.URL)
		}
	}
	return f
}

func stateOf(intent *stripe.PaymentIntent) openapi.PaymentState {
	switch intent.Status {
	case stripe.PaymentIntentStatusRequiresCapture:
		return openapi.PaymentStateAuthorized
	case stripe.PaymentIntentStatusSucceeded:
		return openapi.PaymentStateCaptured
	case stripe.PaymentIntentStatusCanceled:
		return openapi.PaymentStateVoided
	case stripe.PaymentIntentStatusProcessing:
		return openapi.PaymentStatePending
	case stripe.PaymentIntentStatusRequiresAction, stripe.PaymentIntentStatusRequiresConfirmation, stripe.PaymentIntentStatusRequiresPaymentMethod:
		return openapi.PaymentStateRequiresAction
	}
	return openapi.PaymentStatePending
}

// Verify checks a signature of Stripe's under one of the secrets, not older
// than 5 minutes. Where none that can be read verifies it, a secret that cannot be
// read is the error.
func (s *viaStripe) Verify(raw []byte, header http.Header) error {
	err := errors.New("the store has no secret for them")
	var unread error
	for _, file := range s.WebhookSecretFiles {
		one, failed := secret("payments.stripe.webhookSecretFiles", file)
		if failed != nil {
			unread = errors.Join(unread, failed)
			continue
		}
		if err = webhook.ValidatePayload(raw, header.Get("Stripe-Signature"), one); err == nil {
			return nil
		}
	}
	if unread != nil { // it may be signed by that
		return unread
	}
	return errSignature(err.Error())
}

// stripeEvent is what of an event matters: the rest is fetched, so that it is
// of the API's version that the client knows, and of now.
type stripeEvent[Object any] struct {
	ID     string `json:"id"`
	Object string `json:"object"`
	Type   string `json:"type"`
	Data   struct {
		Object Object `json:"object"`
	} `json:"data"`
}

// stripeObject is what an event is about.
type stripeObject struct {
	ID            string          `json:"id"`
	Object        string          `json:"object"`
	PaymentIntent json.RawMessage `json:"payment_intent,omitempty"`
	Status        string          `json:"status,omitempty"`
	FailureReason string          `json:"failure_reason,omitempty"`
}

// stripeDispute is an object that is a chargeback.
type stripeDispute struct {
	stripeObject
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	Reason   string `json:"reason"`
}

// dispute is what Stripe tells of a chargeback.
func (d stripeDispute) dispute() Dispute {
	currency := plain(strings.ToUpper(d.Currency))
	made := Dispute{
		ID: d.ID, Status: plain(d.Status), Reason: plain(d.Reason), Amount: money.Amount{Minor: fromStripe(d.Amount, currency), Currency: currency},
	}
	switch stripe.DisputeStatus(d.Status) {
	case stripe.DisputeStatusWon, stripe.DisputeStatusLost, stripe.DisputeStatusWarningClosed, "prevented":
		made.Over = true
	case stripe.DisputeStatusNeedsResponse, stripe.DisputeStatusUnderReview, stripe.DisputeStatusWarningNeedsResponse, stripe.DisputeStatusWarningUnderReview:
	}
	return made
}

// Keep is what Read needs: Stripe's events hold their buyer's name, address and
// card as well.
func (s *viaStripe) Keep(raw []byte) ([]byte, error) {
	var e stripeEvent[stripeObject]
	err := json.Unmarshal(raw, &e)
	var kept any = &e
	object := &e.Data.Object
	if err == nil && object.Object == "dispute" {
		var d stripeEvent[stripeDispute]
		err = json.Unmarshal(raw, &d)
		kept, object = &d, &d.Data.Object.stripeObject
	}
	if err != nil {
		return nil, errEvent("it is no JSON of Stripe's")
	}
	if object.PaymentIntent, err = json.Marshal(intentOf(object.PaymentIntent)); err == nil {
		raw, err = json.Marshal(kept)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding an event: %w", err)
	}
	return raw, nil
}

// maxName bounds Stripe's own names for things, in bytes.
const maxName = 255

// Read decodes an event.
func (s *viaStripe) Read(raw []byte) (Event, error) {
	var e stripeEvent[stripeObject]
	if err := json.Unmarshal(raw, &e); err != nil {
		return Event{}, errEvent("it is no JSON of Stripe's")
	}
	for _, name := range []string{e.ID, e.Type, e.Data.Object.ID} {
		if len(name) > maxName || strings.ContainsRune(name, 0) {
			return Event{}, errEvent("a name in it is none")
		}
	}
	if e.ID == "" || e.Type == "" || e.Object != "event" {
		return Event{}, errEvent("it has no id and type")
	}
	event := Event{ID: e.ID, Type: e.Type}
	switch o := e.Data.Object; o.Object {
	case "payment_intent":
		event.Reference = o.ID
	case "charge", "refund", "dispute":
		event.Reference = intentOf(o.PaymentIntent)
		if o.Object == "refund" {
			event.refund(o.ID, stripe.RefundStatus(o.Status), o.FailureReason)
		}
		if o.Object == "dispute" {
			var d stripeEvent[stripeDispute]
			if err := json.Unmarshal(raw, &d); err != nil {
				return Event{}, errEvent("its dispute is none")
			}
			event.Dispute = d.Data.Object.dispute()
		}
	}
	if event.Reference != "" && !strings.HasPrefix(event.Reference, "pi_") || len(event.Reference) > maxName || strings.ContainsAny(event.Reference, "/?#\x00 ") {
		return Event{}, errEvent("its payment intent has no name of one")
	}
	return event, nil
}

// intentOf is the name of a payment intent, which stands alone or in the intent.
func intentOf(raw json.RawMessage) string {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return name
	}
	var intent struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &intent) == nil {
		return intent.ID
	}
	return ""
}

// Currencies of which Stripe counts other units than ISO 4217 has
// (https://docs.stripe.com/currencies): all others that the store knows have
// the same.
var (
	// hundredths are counted in hundredths although there are none.
	hundredths = map[string]bool{"ISK": true, "UGX": true}
	// wholes are counted in wholes although there are hundredths.
	wholes = map[string]bool{"MGA": true}
	// tens have three decimals, of which the last must be 0.
	tens = map[string]bool{"BHD": true, "JOD": true, "KWD": true, "OMR": true, "TND": true}
)

func toStripe(a money.Amount) (int64, error) {
	switch {
	case hundredths[a.Currency]:
		return a.Minor * 100, nil
	case wholes[a.Currency] && a.Minor%100 == 0:
		return a.Minor / 100, nil
	case wholes[a.Currency], tens[a.Currency] && a.Minor%10 != 0:
		return 0, problem.New(http.StatusPaymentRequired, "payment_refused", "Stripe takes no %s to the last decimal. Nothing was bought; try another way to pay.", a)
	}
	return a.Minor, nil
}

func fromStripe(amount int64, currency string) int64 {
	switch {
	case hundredths[currency]:
		return amount / 100
	case wholes[currency]:
		return amount * 100
	}
	return amount
}
