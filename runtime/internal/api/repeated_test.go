package api_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// TestWhatIsSoAlreadyIsAnsweredAsItIs repeats each request whose answer was lost.
func TestWhatIsSoAlreadyIsAnsweredAsItIs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 50)
	p := s.ordered(method, line(mug, 4))
	twice := func(path, body string) {
		t.Helper()
		first := s.asAdmin("POST", path, body)
		var events, mails int
		s.scan(`SELECT count(*) FROM events`, &events)
		s.scan(`SELECT count(*) FROM river_job`, &mails)
		if again := s.asAdmin("POST", path, body); first.Code != http.StatusOK || again.Code != http.StatusOK || again.Body.String() != first.Body.String() {
			t.Errorf("%s: %d %s, and again %d %s", path, first.Code, first.Body, again.Code, again.Body)
		}
		var eventsNow, mailsNow int
		s.scan(`SELECT count(*) FROM events`, &eventsNow)
		if s.scan(`SELECT count(*) FROM river_job`, &mailsNow); eventsNow != events || mailsNow != mails {
			t.Errorf("%s again makes %d events and %d mails", path, eventsNow-events, mailsNow-mails)
		}
	}
	for _, to := range []string{"on_hold", "confirmed", "processing"} {
		twice(p.path+"/transitions", `{"to":"`+to+`","reason":"r"}`)
	}
	f := p.pack(openapi.FulfillmentInput{})
	twice("/fulfillments/"+f.Id.String()+"/cancel", `{"reason":"r"}`)
	f = p.pack(openapi.FulfillmentInput{})
	twice("/fulfillments/"+f.Id.String()+"/ship", `{"tracking":[{"number":"1"}]}`)
	twice("/fulfillments/"+f.Id.String()+"/ship", `{"tracking":[{"number":"1","carrier":"DHL"}]}`)
	twice("/fulfillments/"+f.Id.String()+"/deliver", "")
	lineID := p.order().Lines[0].Id
	back := func() string {
		r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: []openapi.ReturnLineInput{{LineId: lineID, Quantity: 1}}}, http.StatusCreated)
		return "/returns/" + r.Id.String()
	}
	first, second, third := back(), back(), back()
	twice(first+"/reject", `{"text":"No."}`)
	twice(second+"/approve", `{"text":"Yes."}`)
	wantProblem(t, s.asAdmin("POST", second+"/approve", `{"text":"Yes, but."}`), http.StatusConflict, "return_state")
	twice(second+"/cancel", `{"reason":"r"}`)
	twice(third+"/approve", `{}`)
	came := `{"lines":[{"lineId":"` + lineID.String() + `","writeOff":1}]`
	twice(third+"/receive", came+`}`)
	wantProblem(t, s.asAdmin("POST", third+"/receive", `{}`), http.StatusConflict, "return_state")
	wantProblem(t, s.asAdmin("POST", third+"/receive", came+`,"refund":true}`), http.StatusConflict, "return_state")
	fourth := back()
	twice(fourth+"/approve", `{}`)
	twice(fourth+"/receive", `{"refund":true}`)
	if n := admin[openapi.RefundList](s, "GET", p.path+"/refunds", "", http.StatusOK).Refunds; len(n) != 1 {
		t.Errorf("%+v", n)
	}
	twice(p.path+"/transitions", `{"to":"completed"}`)
	twice(p.path+"/transitions", `{"to":"refunded"}`)

	other := s.ordered(method, line(mug, 1))
	twice(other.path+"/cancel", `{"reason":"r"}`)
	mine := s.ordered(method, line(mug, 1))
	for range 2 {
		want[openapi.Order](t, mine.guest.do("POST", mine.path+"/cancel", `{}`), http.StatusOK)
	}
	wantProblem(t, s.do("POST", mine.path+"/cancel", `{}`, "X-Cart-Token", uuid.NewString()), http.StatusNotFound, "order_not_found")
	s.wantAddedUp()
}
