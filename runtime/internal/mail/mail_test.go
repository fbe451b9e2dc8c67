package mail

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

func TestAMessageThatCouldNotBeSentIsRefusedWhenItIsEnqueued(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	for payload, pointer := range map[string]string{
		`{"template":"test_message","to":"ada@example.com"}`:                                    "",
		`{"template":"test_message","to":"ada@example.com","locale":"de-AT"}`:                   "",
		`{"template":"order_placed","to":"ada@example.com","orderId":"` + order.String() + `"}`: "",
		`{"template":"newsletter","to":"ada@example.com"}`:                                      "/payload/template",
		`{"template":"test_message"}`:                                                           "/payload/to",
		`{"template":"test_message","to":"Ada <ada@example.com>"}`:                              "/payload/to",
		`{"template":"test_message","to":"ada@example.com\r\nBcc: eve@example.com"}`:            "/payload/to",
		`{"template":"test_message","to":"ada@example.com","locale":"de_AT"}`:                   "/payload/locale",
		`{"template":"test_message","to":"ada@example.com","token":"t0ken"}`:                    "/payload/token",
		`{"template":"order_placed","to":"ada@example.com"}`:                                    "/payload/orderId",
		`{"template":"order_placed","to":"ada@example.com","orderId":"1001"}`:                   "/payload/orderId",
		`{"template":"verify_email","to":"ada@example.com"}`:                                    "/payload/customerId",
		`{"template":"cart_reminder","to":"ada@example.com"}`:                                   "/payload/cartId",
		`{"template":"low_stock","to":"ada@example.com"}`:                                       "/payload/variantIds",
	} {
		_, err := p.ask(jobs.Request{Kind: "email", Payload: json.RawMessage(payload)})
		refused, _ := errors.AsType[*problem.Problem](err)
		switch {
		case pointer == "" && err != nil:
			t.Errorf("%s: %v", payload, err)
		case pointer != "" && (refused == nil || len(refused.Errors) != 1 || refused.Errors[0].Pointer != pointer):
			t.Errorf("%s: %v %+v, not %s", payload, err, refused, pointer)
		}
	}
}

func TestAStoreWithoutMailQueuesNothingAndSaysSoOnce(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	c := p.config
	c.Mail = nil
	p.outbox = NewOutbox(c, p.queue, p.log.Logger())
	for range 2 {
		p.enqueue(Message{Template: PasswordChanged, To: "ada@example.com"})
	}
	if n := len(p.list("")); n != 0 || strings.Count(p.log.String(), "no mail is configured") != 1 {
		t.Errorf("%d jobs, and the log is %s", n, p.log)
	}
}

func TestTheSchemaOfAMessageSaysHowIdsAreWritten(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Mail = &config.Mail{From: "shop@shop.example"}
	kind, err := Delivery(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	schema := kind.Schema()
	if id := schema.Properties["orderId"]; id == nil || id.Type != "string" || id.Format != "uuid" || !slices.Equal(schema.Required, []string{"template", "to"}) {
		t.Errorf("%+v %v", id, schema.Required)
	}
	if raw, err := json.Marshal(Message{Template: TestMessage, To: "a@b.example", CartID: uuid.Max}); err != nil || string(raw) !=
		`{"template":"test_message","to":"a@b.example","cartId":"ffffffff-ffff-ffff-ffff-ffffffffffff"}` {
		t.Errorf("%s %v", raw, err)
	}
}
