package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// administrative are the operations of openapi.yaml that change something and
// that somebody has to have a scope for, and those by which staff do to others
// what these may do themselves.
func administrative(t testing.TB) (all []operation) {
	t.Helper()
	for _, o := range operations(t) {
		scoped := slices.ContainsFunc(o.ways, func(way map[string][]string) bool {
			return slices.ContainsFunc(way["bearer"], func(scope string) bool { return scope != "customer" })
		})
		if o.method != "GET" && (scoped || slices.Contains([]string{"cancelOrder", "payOrder", "requestReturn", "cancelReturn"}, o.id)) {
			all = append(all, o)
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d operations are administrative", len(all))
	}
	return all
}

// acts do each administrative operation with success, by its id, in an order
// in which they can be done.
func (s *wholeStore) acts() []struct{ id, path, body string } {
	order := func() string {
		mug := line(openapi.Variant{Id: uuid.MustParse(s.things["{variantId}"])}, 1)
		method := openapi.ShippingMethod{Id: uuid.MustParse(s.things["/shipping-methods/{id}"])}
		return want[openapi.Order](s.t, s.cartOf(method, mug).order(), http.StatusCreated).Id.String()
	}
	made := func(method, path, body, id string) string {
		var answer map[string]any
		w := s.asAdmin(method, path, body)
		if json.Unmarshal(w.Body.Bytes(), &answer) != nil || answer[id] == nil {
			s.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return fmt.Sprint(answer[id])
	}
	zone := s.things["/zones/{id}"]
	rate := fmt.Sprintf(`{"name":"Low","zoneId":%q,"percent":"7"}`, zone)
	parcel := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"zoneId":%q,"prices":[{"price":{"amount":"1.00","currency":"EUR"}}]}`, name, zone)
	}
	promotion := `{"title":"Free","code":"FREE2","kind":"free_shipping"}`
	spare := made("POST", "/locations", `{"name":"Spare"}`, "id")
	dead := func() string {
		id := strconv.FormatInt(admin[openapi.Job](s.store, "POST", "/jobs", `{"kind":"retention"}`, http.StatusCreated).Id, 10)
		if _, err := s.Pool.Exec(s.t.Context(), `UPDATE river_job SET state = 'discarded', finalized_at = now(), attempt = 5 WHERE id = `+id); err != nil {
			s.t.Fatal(err)
		}
		return id
	}
	payment := func() string {
		return admin[openapi.Order](s.store, "GET", "/orders/"+order(), "", http.StatusOK).Payments[0].Id.String()
	}
	captured := func() string {
		id := payment()
		admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+id+"/capture", `{}`, http.StatusCreated)
		return id
	}
	packed := func(body string) string {
		return admin[openapi.Fulfillment](s.store, "POST", "/orders/"+order()+"/fulfillments", body, http.StatusCreated).Id.String()
	}
	back := func(approved bool) string {
		f := admin[openapi.Fulfillment](s.store, "GET", "/fulfillments/"+packed(`{"shipped":true}`), "", http.StatusOK)
		body := fmt.Sprintf(`{"lines":[{"lineId":%q,"quantity":1}]}`, f.Lines[0].LineId)
		id := admin[openapi.Return](s.store, "POST", "/orders/"+f.OrderId.String()+"/returns", body, http.StatusCreated).Id.String()
		if approved {
			admin[openapi.Return](s.store, "POST", "/returns/"+id+"/approve", `{}`, http.StatusOK)
		}
		return id
	}
	lineOf := func(orderID string) string {
		return admin[openapi.Order](s.store, "GET", "/orders/"+orderID, "", http.StatusOK).Lines[0].Id.String()
	}
	same, more := order(), order() // one whose total stays, and one of which something is due
	admin[openapi.OrderEdit](s.store, "POST", "/orders/"+more+"/edits", fmt.Sprintf(`{"setQuantities":[{"lineId":%q,"quantity":2}]}`, lineOf(more)), http.StatusCreated)
	hook := s.things["/webhooks/endpoints/{id}"]
	cost := strings.Replace(priced("Cup", "CUP", "active", "3.00"), `"currency":"EUR"`, `"currency":"EUR","cost":"1.25"`, 1)
	return []struct{ id, path, body string }{
		{"createProduct", "/products", cost}, {"replaceProduct", "/products/cup", priced("Better cup", "CUP", "active", "4.00")}, {"deleteProduct", "/products/cup", ""},
		{"createCategory", "/categories", `{"name":"New"}`}, {"replaceCategory", "/categories/new", `{"name":"Newer"}`}, {"deleteCategory", "/categories/new", ""},
		{"createCollection", "/collections", `{"name":"New"}`}, {"replaceCollection", "/collections/new", `{"name":"Newer"}`}, {"deleteCollection", "/collections/new", ""},
		{"createLocation", "/locations", `{"name":"Cellar"}`}, {"replaceLocation", "/locations/" + spare, `{"name":"Attic"}`}, {"deleteLocation", "/locations/" + spare, ""},
		{"adjustInventory", "/inventory/adjustments", fmt.Sprintf(`{"reason":"count","changes":[{"sku":"MUG","locationId":%q,"quantity":77}]}`, s.things["/locations/{id}"])},
		{"updateCustomer", "/customers/" + s.person("clerk", openapi.RoleManager).id.String(), `{"locked":true}`},
		{"createApiKey", "/api-keys", `{"name":"till","scopes":["orders:read"]}`}, {"revokeApiKey", "/api-keys/" + s.things["/api-keys/{id}"], ""},
		{"cancelOrder", "/orders/" + order() + "/cancel", `{"reason":"asked"}`}, {"moveOrder", "/orders/" + order() + "/transitions", `{"to":"processing"}`},
		{"editOrder", "/orders/" + same + "/edits", fmt.Sprintf(`{"setQuantities":[{"lineId":%q,"quantity":1}]}`, lineOf(same))}, {"payOrder", "/orders/" + more + "/payments", `{"provider":"test"}`},
		{"addOrderNote", "/orders/" + order() + "/notes", `{"text":"call first"}`},
		{"createFulfillment", "/orders/" + order() + "/fulfillments", `{}`}, {"shipFulfillment", "/fulfillments/" + packed(`{}`) + "/ship", `{"tracking":[{"number":"1"}]}`},
		{"deliverFulfillment", "/fulfillments/" + packed(`{"shipped":true}`) + "/deliver", ""}, {"cancelFulfillment", "/fulfillments/" + packed(`{}`) + "/cancel", `{}`},
		{"requestReturn", "/orders/" + s.things["{shipped}"] + "/returns", fmt.Sprintf(`{"lines":[{"lineId":%q,"quantity":1}]}`, s.things["{shippedLine}"])},
		{"approveReturn", "/returns/" + back(false) + "/approve", `{"text":"Send it to the shop."}`}, {"rejectReturn", "/returns/" + back(false) + "/reject", `{}`},
		{"cancelReturn", "/returns/" + back(false) + "/cancel", `{}`}, {"receiveReturn", "/returns/" + back(true) + "/receive", `{"refund":true}`},
		{"exchangeReturn", "/returns/" + back(true) + "/exchange", fmt.Sprintf(`{"lines":[{"variantId":%q,"quantity":1}]}`, s.things["{variantId}"])},
		{"refundOrder", "/orders/" + s.things["{shipped}"] + "/refunds", `{"amount":"1.00","reason":"a scratch"}`},
		{"createPromotion", "/promotions", promotion}, {"replacePromotion", "/promotions/" + s.things["/promotions/{id}"], `{"title":"Changed","code":"P","kind":"free_shipping"}`},
		{"deletePromotion", "/promotions/" + s.things["/promotions/{id}"], ""},
		{"createZone", "/zones", `{"name":"Austria","areas":["AT"]}`}, {"replaceZone", "/zones/" + zone, `{"name":"All","areas":["*"]}`},
		{"deleteZone", "/zones/" + made("POST", "/zones", `{"name":"Gone","areas":["CH"]}`, "id"), ""},
		{"createTaxRate", "/tax-rates", rate}, {"replaceTaxRate", "/tax-rates/" + s.things["/tax-rates/{id}"], rate}, {"deleteTaxRate", "/tax-rates/" + s.things["/tax-rates/{id}"], ""},
		{"createShippingMethod", "/shipping-methods", parcel("Express")}, {"replaceShippingMethod", "/shipping-methods/" + s.things["/shipping-methods/{id}"], parcel("Slow")},
		{"deleteShippingMethod", "/shipping-methods/" + s.things["/shipping-methods/{id}"], ""},
		{"replaceSettings", "/settings", `{"currency":"EUR","pricesIncludeTax":false,"lowStockThreshold":9}`},
		{"enqueueJob", "/jobs", `{"kind":"expiry"}`}, {"retryJob", "/jobs/" + dead() + "/retry", ""}, {"deleteJob", "/jobs/" + dead(), ""},
		{"retryDeadJobs", "/dead-jobs/retry?kind=retention&n=" + dead(), ""}, {"purgeDeadJobs", "", ""},
		{"capturePayment", "/payments/" + payment() + "/capture", `{"amount":"1.00"}`}, {"voidPayment", "/payments/" + payment() + "/void", `{}`},
		{"refundPayment", "/payments/" + captured() + "/refunds", `{"amount":"1.00","reason":"asked"}`},
		{"createErasure", "/erasures", `{"email":"nobody@example.com"}`},
		{"createImport", "/imports", `{"kind":"products","format":"csv"}`},
		{"continueImport", "/imports/" + s.things["/imports/{id}"], "slug,title,type,sku,price EUR\nin,In,simple,IN,1.00\n"},
		{"createWebhookEndpoint", "/webhooks/endpoints", `{"url":"https://erp.example/","events":["*"]}`}, {"updateWebhookEndpoint", "/webhooks/endpoints/" + hook, `{"description":"the ERP"}`},
		{"rotateWebhookSecret", "/webhooks/endpoints/" + hook + "/secret", ""}, {"revokeWebhookSecrets", "/webhooks/endpoints/" + hook + "/secret/previous", ""}, {"testWebhookEndpoint", "/webhooks/endpoints/" + hook + "/test", ""},
		{"redeliverWebhookDelivery", "/webhooks/deliveries/" + s.things["/webhooks/deliveries/{id}"] + "/redeliver", ""}, {"deleteWebhookEndpoint", "/webhooks/endpoints/" + hook, ""},
	}
}

// TestEveryAdministrativeActLeavesAnEntry does each, and finds who did what to
// what, from where, and what it was and is.
func TestEveryAdministrativeActLeavesAnEntry(t *testing.T) {
	t.Parallel()
	s := newWholeStore(t)
	byID := map[string]operation{}
	for _, o := range administrative(t) {
		byID[o.id] = o
	}
	for _, act := range s.acts() {
		o, ok := byID[act.id]
		if delete(byID, act.id); !ok {
			t.Errorf("%s is no administrative operation that is left to do", act.id)
			continue
		}
		if act.id == "purgeDeadJobs" {
			id := admin[openapi.Job](s.store, "POST", "/jobs", `{"kind":"expiry"}`, http.StatusCreated).Id
			if _, err := s.Pool.Exec(t.Context(), `UPDATE river_job SET state = 'discarded', finalized_at = now(), attempt = 5 WHERE id = $1`, id); err != nil {
				t.Fatal(err)
			}
			act.path = "/dead-jobs"
		}
		headers := []string{"X-Request-Id", "request-of-" + act.id, "User-Agent", "till/1.0 \"quoted\""}
		if act.id == "continueImport" {
			headers = append(headers, "Content-Type", "application/octet-stream", "Upload-Offset", "0", "Upload-Complete", "true")
		}
		w := s.send(o, act.path, act.body, headers...)
		if w.Code >= 300 {
			t.Errorf("%s is answered %d %s", act.id, w.Code, w.Body)
			continue
		}
		page := admin[openapi.AuditPage](s.store, "GET", "/audit?limit=100&action="+act.id+"&requestId=request-of-"+act.id, "", http.StatusOK)
		if len(page.Entries) == 0 {
			t.Errorf("%s leaves no entry: have the table that it changes audited, by audit_table in its migration", act.id)
			continue
		}
		if placed := func(e openapi.AuditEntry) bool { return e.Object == "order" && e.Change == "created" }; act.id == "exchangeReturn" && !slices.ContainsFunc(page.Entries, placed) {
			t.Errorf("of the order that is placed in exchange is no entry: %+v", page.Entries)
		}
		for _, e := range page.Entries {
			if e.Actor != "staff "+s.chief.id.String() || e.Action != act.id || *e.Address != "192.0.2.1" || *e.UserAgent != `till/1.0 "quoted"` || e.ObjectId == "" || e.At.IsZero() ||
				(e.Before == nil) != (e.Change == "created") || (e.After == nil) != (e.Change == "deleted") {
				t.Errorf("%s: %+v", act.id, e)
			}
		}
	}
	for id := range byID {
		t.Errorf("%s is administrative, and this test does not do it: have it leave an entry, and add it to acts", id)
	}
	var all string
	s.scan(`SELECT string_agg(a::text, '') FROM audit a`, &all)
	for _, secret := range []string{"whsec_", "$argon2", "password", "@example.com", "sk_live_" + strings.Repeat("A", 32), "10115"} {
		if strings.Contains(all, secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}

func TestTheAuditLogTellsBeforeAndAfterAndIsSearched(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := admin[openapi.Product](s, "POST", "/products", priced("Mug", "MUG-BLUE", "active", "10.00"), http.StatusCreated)
	admin[openapi.Product](s, "PUT", "/products/mug", priced("Cheap mug", "MUG-BLUE", "active", "0.01"), http.StatusOK)
	admin[openapi.Location](s, "POST", "/locations", `{"name":"Cellar"}`, http.StatusCreated)
	list := func(query string) []openapi.AuditEntry {
		return admin[openapi.AuditPage](s, "GET", "/audit?"+query, "", http.StatusOK).Entries
	}
	changed := list("object=product&objectId=" + mug.Id.String())
	if len(changed) != 2 || changed[0].Action != "replaceProduct" || changed[0].Actor != "key first" || changed[0].Change != "changed" {
		t.Fatalf("%+v", changed)
	}
	var before, after struct{ Document openapi.Product }
	if err := json.Unmarshal(*changed[0].Before, &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(*changed[0].After, &after); err != nil {
		t.Fatal(err)
	}
	if before.Document.Title != "Mug" || after.Document.Title != "Cheap mug" || before.Document.Variants[0].Prices[0].Amount != "10.00" || after.Document.Variants[0].Prices[0].Amount != "0.01" {
		t.Errorf("%s %s", *changed[0].Before, *changed[0].After)
	}
	at := func(e openapi.AuditEntry) string {
		return url.QueryEscape(e.At.Format("2006-01-02T15:04:05.999999Z07:00"))
	}
	for query, want := range map[string]int{
		"q=cheap": 1, "q=MUG-BLUE": 2, "q=cheap+mug+replaceProduct": 1, "q=cheap+cellar": 0, "q=cellar": 1, "actor=key+first&action=createLocation": 1, "actor=nobody": 0,
		"from=" + at(changed[0]): 2, "to=" + at(changed[0]): 1, "from=" + at(changed[1]) + "&to=" + at(changed[0]): 1, "limit=2": 2,
	} {
		if got := list(query); len(got) != want {
			t.Errorf("%s finds %d, want %d", query, len(got), want)
		}
	}
	first := admin[openapi.AuditPage](s, "GET", "/audit?limit=1", "", http.StatusOK)
	if next := list("limit=2&cursor=" + *first.NextCursor); len(next) != 2 || next[0].Id >= first.Entries[0].Id {
		t.Errorf("%+v", next)
	}
	order := want[openapi.Order](t, s.cartOf(s.shipping(), line(s.stocked("CUP", "29.00", 5), 1)).order(), http.StatusCreated)
	p := "/orders/" + order.Id.String()
	for _, to := range []string{"processing", "shipped"} {
		admin[openapi.Order](s, "POST", p+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
	}
	admin[openapi.Refund](s, "POST", p+"/refunds", `{"amount":"0.57"}`, http.StatusCreated)
	if of := list("q=33.90"); len(of) == 0 || of[0].Object != "order" && of[0].Object != "payment" {
		t.Errorf("an order's amount finds %+v", of)
	}
	for query, want := range map[string]int{
		"q=33.90&object=order": 2, "q=moveOrder+33.90+shipped&object=order": 1, "q=33.91": 0, "q=0.57&object=refund": 2, "q=10.00&object=product": 2, "q=%21": 0,
	} {
		if got := list(query); len(got) != want {
			t.Errorf("%s finds %d, want %d", query, len(got), want)
		}
	}
	manager := s.person("manager", openapi.RoleManager)
	wantProblem(t, s.do("GET", "/audit", "", "Authorization", manager.bearer), http.StatusForbidden, "forbidden")
	if w := s.do("GET", "/audit", "", "Authorization", s.key("audit:read")); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestOnlyActsOfStaffAreRecordedAndNoneThatCameToNothing has a connection go
// from one to another.
func TestOnlyActsOfStaffAreRecordedAndNoneThatCameToNothing(t *testing.T) {
	t.Parallel()
	s := storeWith(t, testbed.Database(t), 1) // one connection, which all have in turn
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 5)
	var before, after int
	s.scan(`SELECT count(*) FROM audit`, &before)
	buyer := s.person("ada", openapi.RoleCustomer)
	s.scan(`SELECT count(*) FROM audit`, &before)
	order := want[openapi.Order](t, s.cartOf(method, line(mug, 1)).order(), http.StatusCreated)
	want[openapi.Customer](t, s.do("PATCH", "/me", `{"name":"Ada"}`, "Authorization", buyer.bearer), http.StatusOK)
	wantProblem(t, s.asAdmin("POST", "/locations", `{"name":""}`), http.StatusBadRequest, "invalid_request")
	wantProblem(t, s.asAdmin("POST", "/products", priced("Other", "MUG", "active", "1.00")), http.StatusConflict, "sku_taken")
	wantProblem(t, s.asAdmin("POST", "/orders/"+order.Id.String()+"/transitions", `{"to":"delivered"}`), http.StatusConflict, "transition_not_allowed")
	if _, err := s.Orders.ExpireUnpaid(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.scan(`SELECT count(*) FROM audit`, &after); after != before {
		var last string
		s.scan(`SELECT string_agg(a::text, '; ') FROM (SELECT action, object, after FROM audit ORDER BY sequence DESC LIMIT 5) a`, &last)
		t.Errorf("%d entries more: %s", after-before, last)
	}
	again := []string{"Idempotency-Key", "one"}
	want[openapi.Location](t, s.asAdmin("POST", "/locations", `{"name":"Cellar"}`, again...), http.StatusCreated)
	want[openapi.Location](t, s.asAdmin("POST", "/locations", `{"name":"Cellar"}`, again...), http.StatusCreated)
	admin[openapi.Settings](s, "PUT", "/settings", `{"currency":"EUR","pricesIncludeTax":true}`, http.StatusOK) // as it is
	if s.scan(`SELECT count(*) FROM audit`, &after); after != before+1 {
		t.Errorf("%d entries more", after-before)
	}
}

func TestTheAuditLogIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.shipping()
	for _, statement := range []string{`UPDATE audit SET actor = 'nobody'`, `DELETE FROM audit`, `TRUNCATE audit`, `DELETE FROM audit WHERE sequence = 1`} {
		if _, err := s.Pool.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "only added to") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if n, err := s.Audit.Forget(t.Context()); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	_, err := s.Pool.Exec(t.Context(), `INSERT INTO audit (at, actor, action, change, object, object_id, address, user_agent, request_id)
		SELECT now() - days * interval '1 day', 'staff', 'createZone', 'created', 'zone', '1', '', '', '' FROM unnest(ARRAY[399, 401, 500]) days`)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Audit.Forget(t.Context()); n != 2 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

// TestNoSecretOfAnAuditedTableIsRecorded looks at what each trigger leaves out.
func TestNoSecretOfAnAuditedTableIsRecorded(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	rows, err := s.Pool.Query(t.Context(), `SELECT c.relname::text, a.attname::text, pg_get_triggerdef(t.oid)
		FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE t.tgfoid = 'audit_row'::regproc`)
	if err != nil {
		t.Fatal(err)
	}
	var table, column, trigger string
	audited := map[string]bool{}
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &trigger}, func() error {
		audited[table] = true
		_, left, _ := strings.Cut(trigger, "audit_row(")
		for _, telling := range []string{"hash", "secret", "password", "token", "email", "address", "reference", "next_action"} {
			if strings.Contains(column, telling) && column != "email_verified" && !strings.Contains(left, column) {
				t.Errorf("%s.%s would be recorded", table, column)
			}
		}
		return nil
	})
	if err != nil || len(audited) < 18 {
		t.Errorf("%d tables are audited: %v", len(audited), err)
	}
}
