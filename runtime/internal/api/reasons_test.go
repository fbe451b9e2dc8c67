package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestABuyerIsNotToldWhatStaffWroteAsTheirReasons(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	method := l.shipping()
	mug := l.stocked("MUG", "10.00", 50)
	ada := l.person("ada", openapi.RoleCustomer)
	place := func() openapi.Order {
		in := openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 3)}, ShippingAddress: &berlin, ShippingMethodId: &method.Id}
		cart := want[openapi.CreatedCart](t, l.do("POST", "/carts", encode(t, in), "Authorization", ada.bearer), http.StatusCreated).Cart
		pay := openapi.OrderInput{CartId: cart.Id, Payment: openapi.PaymentInput{Provider: "test"}}
		return want[openapi.Order](t, l.do("POST", "/orders", encode(t, pay), "Authorization", ada.bearer), http.StatusCreated)
	}
	hers, staff := l.socket(t, ada.bearer), l.socket(t, admins())
	hers.subscribe("orders")
	staff.subscribe("orders")
	first, second, third := place(), place(), place()
	do := func(method, path, body string) {
		t.Helper()
		if w := l.asAdmin(method, path, body); w.Code >= http.StatusMultipleChoices {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	orders := "/orders/"
	path := orders + first.Id.String()
	do("POST", path+"/transitions", `{"to":"on_hold","reason":"INTERNAL hold"}`)
	do("POST", path+"/transitions", `{"to":"confirmed"}`)
	do("POST", path+"/edits", `{"setQuantities":[{"lineId":"`+first.Lines[0].Id.String()+`","quantity":2}],"reason":"INTERNAL edit"}`)
	f := admin[openapi.Fulfillment](l.store, "POST", path+"/fulfillments", `{}`, http.StatusCreated)
	do("POST", "/fulfillments/"+f.Id.String()+"/cancel", `{"reason":"INTERNAL unpack"}`)
	do("POST", path+"/fulfillments", `{"shipped":true}`)
	r := admin[openapi.Return](l.store, "POST", path+"/returns", `{"lines":[{"lineId":"`+first.Lines[0].Id.String()+`","quantity":1}]}`, http.StatusCreated)
	do("POST", "/returns/"+r.Id.String()+"/cancel", `{"reason":"INTERNAL return"}`)
	do("POST", path+"/refunds", `{"amount":"1.00","reason":"INTERNAL refund"}`)
	do("POST", "/payments/"+first.Payments[0].Id.String()+"/refunds", `{"amount":"2.00","reason":"INTERNAL money"}`)
	do("POST", orders+second.Id.String()+"/cancel", `{"reason":"INTERNAL cancel"}`)
	want[openapi.Order](t, l.do("POST", orders+third.Id.String()+"/cancel", `{"reason":"Found it cheaper."}`, "Authorization", ada.bearer), http.StatusOK)

	all := []string{"hold", "edit", "unpack", "return", "refund", "money", "cancel"}
	read := func(bearer string) (text string) {
		for _, o := range []uuid.UUID{first.Id, second.Id, third.Id} {
			for _, part := range []string{"", "/timeline", "/refunds", "/returns", "/fulfillments"} {
				w := l.do("GET", orders+o.String()+part, "", "Authorization", bearer)
				if w.Code != http.StatusOK {
					t.Fatalf("%s: %d %s", part, w.Code, w.Body)
				}
				text += w.Body.String() + "\n"
			}
		}
		return text
	}
	heard := func(s *socket) (text string) {
		for {
			e := s.read()
			if text += string(e.Data) + "\n"; e.Event == "order.cancelled" && e.Subject == third.Id {
				return text
			}
		}
	}
	document := want[map[string]any](t, l.do("GET", "/me/personal-data", "", "Authorization", ada.bearer), http.StatusOK)
	for where, text := range map[string]string{"reads": read(ada.bearer), "hears": heard(hers), "takes out": encode(t, document)} {
		if strings.Contains(text, "INTERNAL") || strings.Contains(text, "locationId") {
			t.Errorf("the buyer %s\n%s", where, text)
		}
		if !strings.Contains(text, "Found it cheaper.") {
			t.Errorf("the buyer %s without their own words\n%s", where, text)
		}
	}
	for where, text := range map[string]string{"read": read(admins()), "hear": heard(staff)} {
		for _, reason := range all {
			if !strings.Contains(text, "INTERNAL "+reason) {
				t.Errorf("staff %s nothing of %s", where, reason)
			}
		}
		if !strings.Contains(text, "Found it cheaper.") {
			t.Errorf("staff %s nothing of the buyer's reason", where)
		}
	}
}
