package payment

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// test takes no money. Its tokens say what happens: "" or tok_success is
// authorized, tok_pending is on its way, tok_requires_action waits for the buyer
// for HoldFor, tok_declined is refused, tok_no_refund is authorized and refuses to
// give anything back. What the buyer does is told by events, as with others.
type test struct{}

func (test) Authorize(_ context.Context, r Request) (Facts, error) {
	f := Facts{State: openapi.PaymentStateAuthorized, Reference: "test_" + r.ID.String()}
	switch r.Token {
	case "", "tok_success":
	case "tok_pending":
		f.State = openapi.PaymentStatePending
	case "tok_requires_action":
		f.State, f.Expires = openapi.PaymentStateRequiresAction, true
		f.NextAction = &openapi.PaymentAction{Type: openapi.PaymentActionTypeTest}
	case "tok_no_refund":
		f.Reference += noRefund
	case "tok_declined":
		return Facts{}, declined("")
	default:
		return Facts{}, problem.Invalid(problem.Field{Pointer: "/payment/token",
			Detail: "must be tok_success, tok_pending, tok_requires_action, tok_no_refund or tok_declined"})
	}
	return f, nil
}

// noRefund ends the references of payments that give nothing back.
const noRefund = "_no_refund"

func (test) Capture(context.Context, Payment, Operation) (Facts, error) { return Facts{}, nil }
func (test) Void(context.Context, Payment, Operation) (Facts, error)    { return Facts{}, nil }

func (test) Refund(_ context.Context, p Payment, _ Operation) (Facts, error) {
	if strings.HasSuffix(p.Reference, noRefund) {
		return Facts{}, &Refusal{Code: "no_refund", Detail: "the token said so"}
	}
	return Facts{}, nil
}

// TestSignature is the header of the test provider's events: the HMAC of the
// body by SHA-256 under the key "test", in hexadecimal. It keeps nobody out,
// and is here for what sends events to be tried.
const TestSignature = "Test-Signature"

// SignTest is what TestSignature has to be for an event.
func SignTest(raw []byte) string {
	mac := hmac.New(sha256.New, []byte("test"))
	_, _ = mac.Write(raw) // it never fails
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify reports an event without the signature.
func (test) Verify(raw []byte, header http.Header) error {
	if !hmac.Equal([]byte(header.Get(TestSignature)), []byte(SignTest(raw))) {
		return errSignature("")
	}
	return nil
}

// testEvent is an event of the test provider.
type testEvent struct {
	ID        string               `json:"id"`
	Reference string               `json:"reference"`
	State     openapi.PaymentState `json:"state"`
	Captured  int64                `json:"captured,omitempty"`
	Refunded  int64                `json:"refunded,omitempty"`
}

// Read decodes an event.
func (test) Read(raw []byte) (Event, error) {
	var e testEvent
	if err := strictjson.Unmarshal(raw, &e); err != nil {
		return Event{}, err
	}
	if e.ID == "" || e.Reference == "" || !e.State.Valid() || e.Captured < 0 || e.Refunded < 0 {
		return Event{}, errEvent("it needs an id, a reference and a state")
	}
	id, err := uuid.Parse(strings.TrimSuffix(strings.TrimPrefix(e.Reference, "test_"), noRefund))
	if err != nil {
		return Event{}, errEvent("its reference is none of a payment")
	}
	return Event{ID: e.ID, Type: "payment." + string(e.State), Reference: e.Reference, Facts: &Facts{
		Reference: e.Reference, PaymentID: id, State: e.State, Captured: e.Captured, Refunded: e.Refunded,
	}}, nil
}

// Keep is the event, in which there is nothing of anybody's.
func (test) Keep(raw []byte) ([]byte, error) { return raw, nil }
