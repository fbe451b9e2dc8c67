package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/internal/webhook"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// hears is another program.
type hears struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	types  []string
}

func (s *store) hears() *hears {
	s.t.Helper()
	h := &hears{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if err := webhook.Verify(r.Header, body, h.secret, s.clock.now()); err != nil {
			s.t.Error(err)
		}
		_, rest, _ := strings.Cut(string(body), `"type":"`)
		kind, _, _ := strings.Cut(rest, `"`)
		h.types = append(h.types, kind)
		fmt.Fprint(w, "thank you")
	}))
	s.t.Cleanup(h.Close)
	return h
}

// telling runs what a process does for webhooks.
func (s *store) telling() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	s.t.Cleanup(func() { cancel(); running.Wait() })
	relay := events.NewRelay(s.Events, nil, s.log.Logger(), prometheus.NewRegistry())
	relay.Also(func(context.Context, []events.Published) { s.Webhooks.Wake() })
	running.Go(func() { relay.Run(ctx) })
	running.Go(func() {
		webhook.NewDispatcher(s.Webhooks, 8, s.log.Logger(), prometheus.NewRegistry()).Run(ctx)
	})
}

func TestAnOrderIsToldToWhoAskedAndEveryDeliveryCanBeLookedAt(t *testing.T) {
	t.Parallel()
	s := storeWith(t, testbed.Database(t), 8, func(c *config.Config) { c.Webhooks.AllowPrivateAddresses = true })
	h := s.hears()
	in := fmt.Sprintf(`{"url":%q,"events":["order.*","payment.captured"],"description":"the warehouse"}`, h.URL)
	made := want[openapi.CreatedWebhookEndpoint](t, s.asAdmin("POST", "/webhooks/endpoints", in, "Idempotency-Key", "one"), http.StatusCreated)
	again := s.asAdmin("POST", "/webhooks/endpoints", in, "Idempotency-Key", "one")
	if replayed := want[openapi.CreatedWebhookEndpoint](t, again, http.StatusCreated); replayed.Secret != nil || replayed.Endpoint.Id != made.Endpoint.Id || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s", again.Body)
	}
	var kept int
	if s.scan(`SELECT count(*) FROM idempotency_keys WHERE position('whsec' IN convert_from(body, 'UTF8')) > 0`, &kept); kept != 0 {
		t.Error("the secret is kept with the answer")
	}
	path := "/webhooks/endpoints/" + made.Endpoint.Id.String()
	rotated := want[openapi.WebhookSecret](t, s.asAdmin("POST", path+"/secret", "", "Idempotency-Key", "two"), http.StatusCreated)
	for range 10 { // as of a client that tries again
		once := s.asAdmin("POST", path+"/secret", "", "Idempotency-Key", "two")
		if r := want[openapi.WebhookSecret](t, once, http.StatusCreated); r.Secret != nil || !r.PreviousValidUntil.Equal(rotated.PreviousValidUntil) || once.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s", once.Body)
		}
	}
	if s.scan(`SELECT count(*) FROM idempotency_keys WHERE position('whsec' IN convert_from(body, 'UTF8')) > 0`, &kept); kept != 0 {
		t.Error("the new secret is kept with the answer")
	}
	h.secret = *rotated.Secret
	s.telling()
	order := want[openapi.Order](t, s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 5), 1)).order(), http.StatusCreated)
	for _, to := range []string{"processing", "shipped"} {
		admin[openapi.Order](s, "POST", "/orders/"+order.Id.String()+"/transitions", fmt.Sprintf(`{"to":%q}`, to), http.StatusOK)
	}
	list := func(query string) []openapi.WebhookDelivery {
		return admin[openapi.WebhookDeliveryPage](s, "GET", "/webhooks/deliveries?"+query, "", http.StatusOK).Deliveries
	}
	testbed.Eventually(t, "all is delivered", func() bool { return len(list("state=succeeded&subject="+order.Id.String())) == 3 })
	h.mu.Lock()
	var ofOrder []string
	for _, kind := range h.types {
		if strings.HasPrefix(kind, "order.") {
			ofOrder = append(ofOrder, kind)
		}
	}
	h.mu.Unlock()
	if got := strings.Join(ofOrder, " "); got != "order.placed order.processing order.shipped" {
		t.Errorf("it was told %s", got)
	}
	shipped := list("event=order.shipped&endpointId=" + made.Endpoint.Id.String())
	if len(shipped) != 1 {
		t.Fatalf("%+v", shipped)
	}
	one := admin[openapi.WebhookDelivery](s, "GET", "/webhooks/deliveries/"+shipped[0].Id.String(), "", http.StatusOK)
	if log := *one.Log; len(log) != 1 || *log[0].Status != 200 || *log[0].Answer != "thank you" || log[0].RequestHeaders["Webhook-Id"] != one.MessageId.String() ||
		!strings.Contains(*one.Body, `"order.shipped"`) || strings.Contains(fmt.Sprint(one), *made.Secret) {
		t.Errorf("%+v", one)
	}
	admin[openapi.WebhookDelivery](s, "POST", "/webhooks/deliveries/"+one.Id.String()+"/redeliver", "", http.StatusOK)
	testbed.Eventually(t, "it is delivered again", func() bool {
		again := admin[openapi.WebhookDelivery](s, "GET", "/webhooks/deliveries/"+one.Id.String(), "", http.StatusOK)
		return again.Attempts == 2 && again.State == openapi.WebhookDeliveryStateSucceeded && len(*again.Log) == 2
	})
	first := admin[openapi.WebhookDeliveryPage](s, "GET", "/webhooks/deliveries?limit=2", "", http.StatusOK)
	second := admin[openapi.WebhookDeliveryPage](s, "GET", "/webhooks/deliveries?limit=2&cursor="+*first.NextCursor, "", http.StatusOK)
	if len(first.Deliveries) != 2 || len(second.Deliveries) == 0 || second.Deliveries[0].Id == first.Deliveries[1].Id {
		t.Errorf("%+v %+v", first, second)
	}
	off := admin[openapi.WebhookEndpoint](s, "PATCH", path, `{"enabled":false,"events":["stock.low"],"description":"nobody"}`, http.StatusOK)
	if off.Enabled || *off.DisabledReason != openapi.WebhookDisabledReasonRequested || off.Description != "nobody" || off.Url != h.URL || off.Events[0] != "stock.low" {
		t.Errorf("%+v", off)
	}
	wantProblem(t, s.asAdmin("POST", "/webhooks/deliveries/"+one.Id.String()+"/redeliver", ""), http.StatusConflict, "webhook_endpoint_disabled")
	if w := s.asAdmin("DELETE", path, ""); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, s.asAdmin("GET", path, ""), http.StatusNotFound, "webhook_endpoint_not_found")
	wantProblem(t, s.asAdmin("GET", "/webhooks/deliveries/"+one.Id.String(), ""), http.StatusNotFound, "webhook_delivery_not_found")
	if strings.Contains(s.log.String(), *made.Secret) {
		t.Error("the secret is logged")
	}
}

func TestWhereNothingMayBeSentIsNoEndpoint(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for body, pointer := range map[string]string{
		`{"url":"http://example.com","events":["*"]}`: "/url", `{"url":"https://10.0.0.1/","events":["*"]}`: "/url",
		`{"url":"https://[::ffff:127.0.0.1]/","events":["*"]}`: "/url", `{"url":"https://example.com","events":["order.eaten"]}`: "/events/0",
		`{"url":"https://example.com","events":["catalog.changed"]}`: "/events/0",
	} {
		p := wantProblem(t, s.asAdmin("POST", "/webhooks/endpoints", body), http.StatusBadRequest, "invalid_request")
		if p.Errors == nil || (*p.Errors)[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p)
		}
	}
	made := admin[openapi.CreatedWebhookEndpoint](s, "POST", "/webhooks/endpoints", `{"url":"https://example.com","events":["*"],"enabled":false}`, http.StatusCreated)
	wantProblem(t, s.asAdmin("PATCH", "/webhooks/endpoints/"+made.Endpoint.Id.String(), `{"url":"https://192.168.0.1"}`), http.StatusBadRequest, "invalid_request")
	for range 49 {
		admin[openapi.CreatedWebhookEndpoint](s, "POST", "/webhooks/endpoints", `{"url":"https://example.com","events":["*"]}`, http.StatusCreated)
	}
	wantProblem(t, s.asAdmin("POST", "/webhooks/endpoints", `{"url":"https://example.com","events":["*"]}`), http.StatusConflict, "too_many_webhook_endpoints")
	events := admin[openapi.WebhookEventList](s, "GET", "/webhooks/events", "", http.StatusOK).Events
	if len(events) < 20 || !strings.Contains(string(events[0].Schema), "json-schema.org") {
		t.Errorf("%+v", events)
	}
}
