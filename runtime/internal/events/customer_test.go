package events_test

import (
	"encoding/json"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/events"
)

func TestACustomerIsToldWhatHappenedAndNotWhyStaffDidIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, actor, data, want string }{
		{"order.cancelled", "staff 1", `{"reason":"fraud","to":"cancelled"}`, `{"to":"cancelled"}`},
		{"order.cancelled", "key 1", `{"text":"fraud, of before","to":"cancelled"}`, `{"to":"cancelled"}`},
		{"fulfillment.cancelled", "key first", `{"text":"fraud, of before"}`, `{}`},
		{"refund.created", "key first", `{"reason":"fraud","text":"10.00 EUR of it were paid with order 1."}`, `{"text":"10.00 EUR of it were paid with order 1."}`},
		{"order.cancelled", "customer 1", `{"reason":"too late"}`, `{"reason":"too late"}`},
		{"order.cancelled", "store", `{"reason":"not paid"}`, `{"reason":"not paid"}`},
		{"order.note", "staff 1", `{"text":"Dear Ada"}`, `{"text":"Dear Ada"}`},
		{"order.edited", "staff 1", `{"reason":"fraud","text":"CUP taken out."}`, `{"text":"CUP taken out."}`},
		{"return.rejected", "staff 1", `{"lines":[{"reason":"unwanted"}],"text":"It is worn."}`, `{"lines":[{"reason":"unwanted"}],"text":"It is worn."}`},
		{"return.cancelled", "guest", `{"reason":"I keep it"}`, `{"reason":"I keep it"}`},
		{"fulfillment.created", "store", `{"fulfillmentId":"1","locationId":"2"}`, `{"fulfillmentId":"1"}`},
	} {
		if got := events.ForCustomer(c.kind, c.actor, json.RawMessage(c.data)); string(got) != c.want {
			t.Errorf("%s by %s: %s becomes %s, want %s", c.kind, c.actor, c.data, got, c.want)
		}
	}
}
