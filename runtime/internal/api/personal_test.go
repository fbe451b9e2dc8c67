package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/privacy"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// marker is in everything personal of who is to be erased.
const marker = "Zaphodmarker"

// markedAddress has it in every part that may be anything.
var markedAddress = openapi.Address{
	Name: marker, Company: new(marker + " Ltd"), Line1: marker + " Street 1", Line2: new(marker + " backyard"), City: marker + "town", Country: "DE",
	PostalCode: new("10" + marker), Region: new("BE"), Phone: new("+49 " + marker),
}

// found are the columns that have a text in them, as "table.column".
func (s *store) found(text string) map[string]int {
	s.t.Helper()
	rows, err := s.Pool.Query(s.t.Context(), `SELECT c.table_name::text, c.column_name::text, c.data_type::text
		FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = current_schema AND t.table_type = 'BASE TABLE'`)
	if err != nil {
		s.t.Fatal(err)
	}
	var columns [][3]string
	var table, column, kind string
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &kind}, func() error {
		columns = append(columns, [3]string{table, column, kind})
		return nil
	})
	if err != nil || len(columns) < 200 {
		s.t.Fatalf("%d columns: %v", len(columns), err)
	}
	found := map[string]int{}
	for _, c := range columns {
		value := pgx.Identifier{c[1]}.Sanitize() + "::text"
		if c[2] == "bytea" {
			value = "encode(" + pgx.Identifier{c[1]}.Sanitize() + ", 'escape')"
		}
		var n int
		query := fmt.Sprintf(`SELECT count(*) FROM %s WHERE position($1 IN lower(%s)) > 0`, pgx.Identifier{c[0]}.Sanitize(), value)
		if err := s.Pool.QueryRow(s.t.Context(), query, strings.ToLower(text)).Scan(&n); err != nil {
			s.t.Fatalf("%s: %v", query, err)
		}
		if n > 0 {
			found[c[0]+"."+c[1]] = n
		}
	}
	return found
}

// marked is a store that knows a person by all that it can.
type marked struct {
	*striped
	email  string
	person person
	// orders are one of the account and one of a guest with its address.
	orders []string
}

func newMarked(t *testing.T) *marked {
	t.Helper()
	m := &marked{striped: &striped{uri: testbed.Database(t)}, email: strings.ToLower(marker) + "@example.com"}
	m.stripe = testbed.Stripe(t, func() time.Time { return m.clock.now() })
	m.store = storeWith(t, m.uri, 8, func(c *config.Config) {
		c.Webhooks.AllowPrivateAddresses = true
		c.Payments.Stripe = &config.Stripe{
			APIKeyFile: testbed.File(t, testbed.StripeKey), WebhookSecretFiles: []string{testbed.File(t, testbed.StripeSecret)}, PublishableKey: "pk_test_1", APIBase: m.stripe.URL,
		}
	})
	m.method, m.mug = m.shipping(), m.stocked("MUG", "5.10", 100)
	m.tellsAnEcho()
	m.becomesKnown()
	return m
}

// tellsAnEcho has a program told of everything that answers with it.
func (m *marked) tellsAnEcho() {
	m.t.Helper()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	m.t.Cleanup(echo.Close)
	admin[openapi.CreatedWebhookEndpoint](m.store, "POST", "/webhooks/endpoints", fmt.Sprintf(`{"url":%q,"events":["*"]}`, echo.URL), http.StatusCreated)
	m.telling()
}

// becomesKnown has somebody do everything that a person can, with a marker.
func (m *marked) becomesKnown() {
	m.t.Helper()
	key := func(name string) []string { return []string{"Idempotency-Key", name} }
	in := openapi.RegisterInput{Email: m.email, Password: "correct horse battery", Name: new(marker)}
	want[openapi.Accepted](m.t, m.do("POST", "/auth/register", encode(m.t, in), key("register")...), http.StatusAccepted)
	customer := admin[openapi.CustomerPage](m.store, "GET", "/customers?email="+m.email, "", http.StatusOK).Customers[0]
	tokens := want[openapi.Tokens](m.t, m.logIn(strings.ToLower(marker), nil), http.StatusOK)
	m.person = person{customer.Id, "Bearer " + tokens.AccessToken}
	as := func(name string) []string { return append(key(name), "Authorization", m.person.bearer) }
	if _, err := m.Pool.Exec(m.t.Context(), `UPDATE customers SET email_verified = true WHERE id = $1`, m.person.id); err != nil {
		m.t.Fatal(err)
	}
	want[openapi.Accepted](m.t, m.do("POST", "/auth/password-reset", encode(m.t, openapi.EmailInput{Email: m.email})), http.StatusAccepted)
	want[openapi.SavedAddress](m.t, m.do("POST", "/me/addresses", encode(m.t, openapi.SavedAddressInput{Address: markedAddress}), as("address")...), http.StatusCreated)
	want[openapi.SocketTicket](m.t, m.do("POST", "/ws/tickets", "", as("ticket")...), http.StatusCreated)
	wantProblem(m.t, m.do("POST", "/auth/login", encode(m.t, openapi.LoginInput{Email: m.email, Password: "wrong horse battery"})), http.StatusUnauthorized, "invalid_credentials")

	admin[openapi.Promotion](m.store, "POST", "/promotions", `{"title":"P","code":"P","kind":"fixed_amount","amount":{"amount":"0.10","currency":"EUR"},"usageLimitPerCustomer":5}`, http.StatusCreated)
	cart := func(email string, headers []string) openapi.CreatedCart {
		in := openapi.CartInput{
			Email: &email, Lines: &[]openapi.CartLineInput{line(m.mug, 1)}, Coupons: &[]string{"P"}, ShippingAddress: &markedAddress, BillingAddress: &markedAddress,
			ShippingMethodId: &m.method.Id, VatId: new("DE123456789"), Locale: new("de"),
		}
		return want[openapi.CreatedCart](m.t, m.do("POST", "/carts", encode(m.t, in), headers...), http.StatusCreated)
	}
	place := func(c openapi.CreatedCart, headers []string) {
		in := openapi.OrderInput{CartId: c.Cart.Id, Payment: openapi.PaymentInput{Provider: "stripe", Token: new("pm_card")}, Note: new(marker + " rings twice")}
		o := want[openapi.Order](m.t, m.do("POST", "/orders", encode(m.t, in), headers...), http.StatusCreated)
		m.orders = append(m.orders, o.Id.String())
	}
	place(cart(m.email, as("cart")), as("order"))
	guests := cart(strings.ToUpper(marker)+"@Example.com", key("guests cart"))
	place(guests, append(key("guests order"), "X-Cart-Token", *guests.Token))
	for i, id := range m.orders {
		path := "/orders/" + id
		for _, note := range []openapi.NoteInput{{Text: marker + " called"}, {Text: "Dear " + marker, VisibleToCustomer: new(true)}} {
			want[openapi.TimelineEntry](m.t, m.asAdmin("POST", path+"/notes", encode(m.t, note), key(note.Text+id)...), http.StatusCreated)
		}
		payment := admin[openapi.Order](m.store, "GET", path, "", http.StatusOK).Payments[0].Id.String()
		intent := admin[openapi.PaymentDetails](m.store, "GET", "/payments/"+payment, "", http.StatusOK).Reference
		admin[openapi.PaymentOperation](m.store, "POST", "/payments/"+payment+"/capture", `{}`, http.StatusCreated)
		m.wantHeard(m.tells(intent))
		want[openapi.PaymentOperation](m.t, m.asAdmin("POST", "/payments/"+payment+"/refunds", `{"amount":"1.00","reason":"`+marker+` was unhappy"}`, key("refund"+id)...), http.StatusCreated)
		for _, to := range []string{"processing", "shipped", "delivered"}[:3-i] {
			admin[openapi.Order](m.store, "POST", path+"/transitions", fmt.Sprintf(`{"to":%q,"reason":"%s wants it"}`, to, marker), http.StatusOK)
		}
	}
	m.counts(m.bring("stock", "jsonl", `{"sku":"`+m.email+`","onHand":1}`), 0, 0, 0, 1) // a column too far to the left
	// What goes out and comes back.
	for _, id := range m.orders {
		for _, f := range admin[openapi.FulfillmentList](m.store, "GET", "/orders/"+id+"/fulfillments", "", http.StatusOK).Fulfillments {
			if f.State == openapi.FulfillmentStateShipped {
				admin[openapi.Fulfillment](m.store, "POST", "/fulfillments/"+f.Id.String()+"/ship", `{"tracking":[{"carrier":"`+marker+`","number":"`+marker+`"}]}`, http.StatusOK)
			}
			back := openapi.ReturnInput{Lines: []openapi.ReturnLineInput{{LineId: f.Lines[0].LineId, Quantity: 1}}, Note: new(marker + " does not like it")}
			r := want[openapi.Return](m.t, m.asAdmin("POST", "/orders/"+id+"/returns", encode(m.t, back), key("return"+id)...), http.StatusCreated)
			admin[openapi.Return](m.store, "POST", "/returns/"+r.Id.String()+"/approve", `{"text":"For `+marker+`"}`, http.StatusOK)
			admin[openapi.Return](m.store, "POST", "/returns/"+r.Id.String()+"/cancel", `{}`, http.StatusOK)
		}
		want[openapi.Refund](m.t, m.asAdmin("POST", "/orders/"+id+"/refunds", `{"amount":"0.50","reason":"`+marker+` waited"}`, key("order refund"+id)...), http.StatusCreated)
	}
	// A cart that holds stock, and one of a guest.
	open := cart(m.email, as("another cart"))
	want[openapi.Cart](m.t, m.do("POST", "/carts/"+open.Cart.Id.String()+"/reservation", "", as("reservation")...), http.StatusOK)
	cart(m.email, key("a guests cart"))
	// A mail that is being sent, one that the server refused, and one that was handed over.
	for _, statement := range []string{
		`UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now() WHERE id = (SELECT min(id) FROM river_job WHERE kind = 'email')`,
		`UPDATE river_job SET errors = ARRAY[jsonb_build_object('error', 'no mailbox of zaphodmarker@example.com')] WHERE id = (SELECT max(id) FROM river_job WHERE kind = 'email')`,
		`INSERT INTO mail_handovers (job_id, attempted_at, failures, handed_at) SELECT max(id), now(), 0, now() FROM river_job WHERE kind = 'email'`,
	} {
		if _, err := m.Pool.Exec(m.t.Context(), statement); err != nil {
			m.t.Fatal(err)
		}
	}
	m.told()
}

// tells is an event of a payment intent with what a provider knows of who pays.
func (m *marked) tells(intent string) []byte {
	m.t.Helper()
	var event map[string]any
	if err := json.Unmarshal(m.stripe.Event("payment_intent.succeeded", intent), &event); err != nil {
		m.t.Fatal(err)
	}
	event["data"].(map[string]any)["object"].(map[string]any)["receipt_email"] = m.email
	return []byte(encode(m.t, event))
}

// arrive takes the orders to where the person can be erased.
func (m *marked) arrive() {
	m.t.Helper()
	admin[openapi.Order](m.store, "POST", "/orders/"+m.orders[1]+"/transitions", `{"to":"delivered"}`, http.StatusOK)
}

// TestWhoIsErasedIsNowhereInTheDatabase has a marker in everything personal,
// and looks for it in every column of every table.
func TestWhoIsErasedIsNowhereInTheDatabase(t *testing.T) {
	t.Parallel()
	m := newMarked(t)
	before := m.found(marker)
	for _, column := range []string{
		"customers.email", "customers.name", "addresses.address", "carts.content", "orders.email", "orders.details", "promotion_uses.customer_key",
		"payment_operations.reason", "events.data", "webhook_deliveries.body", "webhook_attempts.answer", "idempotency_keys.body", "idempotency_keys.key", "audit.after", "audit.words",
		"river_job.args", "river_job.errors", "import_refusals.errors",
	} {
		if before[column] == 0 {
			t.Errorf("nothing is marked in %s, so that it is not shown to be erased", column)
		}
	}
	for column := range before {
		table, name, _ := strings.Cut(column, ".")
		if fates := privacy.Places[table]; !slices.Contains(fates[privacy.Removed], name) && !slices.Contains(fates[privacy.Redacted], name) {
			t.Errorf("%s holds something personal, and is said not to", column)
		}
	}
	p := wantProblem(t, m.asAdmin("POST", "/erasures", fmt.Sprintf(`{"email":%q}`, m.email)), http.StatusConflict, "orders_open")
	if !strings.Contains(*p.Detail, ": 1002.") {
		t.Errorf("%s", *p.Detail)
	}
	if after := m.found(marker); !maps.Equal(before, after) {
		t.Errorf("a refusal changed %v to %v", before, after)
	}
	m.arrive()
	var totals, totalsAfter string
	const sums = `SELECT count(*) || ' ' || sum(total) || ' ' || sum(tax) || ' ' || (SELECT sum(total) FROM order_lines) || ' ' || (SELECT sum(refunded) FROM payments) FROM orders`
	m.scan(sums, &totals)

	done := admin[openapi.Erasure](m.store, "POST", "/erasures", fmt.Sprintf(`{"email":%q}`, strings.ToUpper(m.email)), http.StatusCreated)
	if done.Orders != 2 || *done.CustomerId != m.person.id || done.Actor != "key first" {
		t.Errorf("%+v", done)
	}
	if left := m.found(marker); len(left) > 0 {
		t.Errorf("the marker is still in %v", left)
	}
	told := []string{"events.data", "webhook_deliveries.body", "webhook_attempts.answer"} // that it is erased
	for column := range m.found(m.person.id.String()) {
		if !slices.Contains(told, column) && !strings.HasPrefix(column, "audit.") && column != "erasures.customer_id" {
			t.Errorf("the account's id is still in %s", column)
		}
	}
	if m.scan(sums, &totalsAfter); totals != totalsAfter {
		t.Errorf("the books said %s, and say %s", totals, totalsAfter)
	}
	m.wantAddedUp()
	if l := m.level("MUG"); l.Reserved != 0 {
		t.Errorf("%+v", l)
	}
	for _, id := range m.orders {
		m.wantAnonymous(id)
	}
	m.wantForgotten()
}

// wantAnonymous fails the test unless an order is nobody's and all there.
func (m *marked) wantAnonymous(id string) {
	m.t.Helper()
	o := admin[openapi.Order](m.store, "GET", "/orders/"+id, "", http.StatusOK)
	kept := openapi.Address{Country: "DE", Region: new("BE"), PostalCode: new("10")}
	if o.Email != "" || o.CustomerId != nil || o.Note != nil || *o.VatId != "DE" || encode(m.t, o.ShippingAddress) != encode(m.t, kept) ||
		encode(m.t, o.BillingAddress) != encode(m.t, kept) || o.Lines[0].Sku != "MUG" || len(o.Payments) != 1 || *o.ShippingMethod != "Parcel" || len(o.Totals.Taxes) != 1 {
		m.t.Errorf("%s", encode(m.t, o))
	}
	var notes int
	for _, e := range admin[openapi.Timeline](m.store, "GET", "/orders/"+id+"/timeline", "", http.StatusOK).Entries {
		if e.Type == "order.note" && *e.Text == "[erased]" {
			notes++
		}
	}
	if notes != 2 {
		m.t.Errorf("%d notes are left", notes)
	}
}

// wantForgotten fails the test unless nobody finds the person, who may come
// again as somebody new.
func (m *marked) wantForgotten() {
	m.t.Helper()
	if page := admin[openapi.CustomerPage](m.store, "GET", "/customers?email="+m.email, "", http.StatusOK); len(page.Customers) != 0 {
		m.t.Errorf("%+v", page)
	}
	if page := admin[openapi.OrderPage](m.store, "GET", "/orders?email="+m.email, "", http.StatusOK); len(page.Orders) != 0 {
		m.t.Errorf("%+v", page)
	}
	wantProblem(m.t, m.asAdmin("GET", "/customers/"+m.person.id.String(), ""), http.StatusNotFound, "customer_not_found")
	wantProblem(m.t, m.do("GET", "/me", "", "Authorization", m.person.bearer), http.StatusUnauthorized, "unauthorized")
	wantProblem(m.t, m.logIn(strings.ToLower(marker), nil), http.StatusUnauthorized, "invalid_credentials")
	data := admin[openapi.PersonalData](m.store, "GET", "/personal-data?email="+m.email, "", http.StatusOK)
	if data.Account != nil || len(data.Orders)+len(data.Carts)+len(data.Mails)+len(data.Sessions) != 0 || !data.Complete {
		m.t.Errorf("%s", encode(m.t, data))
	}
	again := m.store.person(strings.ToLower(marker), openapi.RoleCustomer)
	if list := want[openapi.OrderPage](m.t, m.do("GET", "/orders", "", "Authorization", again.bearer), http.StatusOK); again.id == m.person.id || len(list.Orders) != 0 {
		m.t.Errorf("%s finds %+v", again.id, list)
	}
}

// TestAPersonTakesOutEverything wants all of it, and nothing that is the
// store's.
func TestAPersonTakesOutEverything(t *testing.T) {
	t.Parallel()
	m := newMarked(t)
	admin[openapi.Customer](m.store, "PATCH", "/customers/"+m.person.id.String(), `{"locked":false}`, http.StatusOK)
	w := m.do("GET", "/me/personal-data", "", "Authorization", m.person.bearer)
	own := want[openapi.PersonalData](t, w, http.StatusOK)
	if own.Account.Name != marker || len(own.Addresses) != 1 || own.Addresses[0].Address.Line1 != markedAddress.Line1 || len(own.Sessions) != 1 || !own.Complete ||
		len(own.Carts) != 4 || len(own.Orders) != 2 || len(own.CouponUses) != 2 || len(own.Mails) < 4 || *own.CustomerId != m.person.id || *own.Email != m.email {
		t.Errorf("%s", w.Body)
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="personal-data.json"` {
		t.Errorf("%s", got)
	}
	for _, o := range own.Orders {
		if *o.Order.Note != marker+" rings twice" || len(o.Order.Lines) != 1 || len(o.Order.Payments) != 1 || *o.Order.VatId != "DE123456789" ||
			len(o.Fulfillments) != 1 || o.Fulfillments[0].LocationId != nil || len(o.Returns) != 1 {
			t.Errorf("%s", encode(t, o))
		}
	}
	for _, c := range own.Carts {
		if len(c.Lines) != 1 || c.ShippingAddress.City != markedAddress.City || *c.Locale != "de" {
			t.Errorf("%s", encode(t, c))
		}
	}
	text := w.Body.String()
	if !strings.Contains(text, `"tracking":[{`) {
		t.Errorf("it has no tracking: %s", text)
	}
	if strings.Count(text, "Dear "+marker) != 2 || strings.Contains(text, marker+" called") || strings.Contains(text, "key first") {
		t.Errorf("of the notes their buyer may see those that are for them: %s", text)
	}
	for _, secret := range []string{"$argon2", "client_secret", "clientSecret", "refresh", "sk_", "pi_"} {
		if strings.Contains(text, secret) {
			t.Errorf("it has %s", secret)
		}
	}
	own.ExportedAt = time.Time{}
	for _, query := range []string{"customerId=" + m.person.id.String(), "email=" + strings.ToUpper(m.email)} {
		staffs := admin[openapi.PersonalData](m.store, "GET", "/personal-data?"+query, "", http.StatusOK)
		if staffs.ExportedAt = own.ExportedAt; encode(t, staffs) != encode(t, own) {
			t.Errorf("by %s it is %s", query, encode(t, staffs))
		}
	}
	wantProblem(t, m.asAdmin("GET", "/personal-data", ""), http.StatusBadRequest, "invalid_request")
	wantProblem(t, m.asAdmin("GET", "/personal-data?email=a@example.com&customerId="+m.person.id.String(), ""), http.StatusBadRequest, "invalid_request")
	wantProblem(t, m.asAdmin("GET", "/personal-data?customerId=01a216d9-58eb-7b35-981c-707f3f70cbb1", ""), http.StatusNotFound, "customer_not_found")
	if after := admin[openapi.PersonalData](m.store, "GET", "/personal-data?email=nobody@example.com", "", http.StatusOK); after.Account != nil || len(after.Orders) != 0 {
		t.Errorf("%s", encode(t, after))
	}
}

// TestALongHistoryIsTakenOutWhole has more of everything than is read at once.
func TestALongHistoryIsTakenOutWhole(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 1000)
	const orders = 205 // pages have 100
	for range orders {
		want[openapi.Order](t, s.cartOf(method, line(mug, 1)).order(), http.StatusCreated)
	}
	data := admin[openapi.PersonalData](s, "GET", "/personal-data?email=ada@example.com", "", http.StatusOK)
	seen := map[string]bool{}
	for _, o := range data.Orders {
		seen[o.Order.Number] = true
	}
	if len(seen) != orders || len(data.Orders) != orders || len(data.Carts) != orders || len(data.Mails) != orders || !data.Complete {
		t.Errorf("%d orders, %d carts, %d mails", len(data.Orders), len(data.Carts), len(data.Mails))
	}
}

// TestADocumentThatBreaksOffIsNotTakenForTheWhole takes a table away while it
// is written.
func TestADocumentThatBreaksOffIsNotTakenForTheWhole(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.statements.meanwhile("Mails", func() {
		if _, err := s.Pool.Exec(context.Background(), `ALTER TABLE audit RENAME TO elsewhere`); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(s.engine)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/personal-data?email=ada@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminKey)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err := io.ReadAll(answer.Body); err == nil || strings.Contains(string(body), "complete") || !strings.Contains(s.log.String(), "broke off") {
		t.Errorf("%s %v", body, err)
	}
}

func TestOneErasesOneselfByThePassword(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ada := s.person("ada", openapi.RoleCustomer)
	as := []string{"Authorization", ada.bearer}
	wantProblem(t, s.do("POST", "/me/erasure", `{"password":"wrong horse battery"}`, as...), http.StatusBadRequest, "invalid_request")
	if w := s.do("POST", "/me/erasure", `{"password":"correct horse battery"}`, as...); w.Code != http.StatusNoContent || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
	}
	wantProblem(t, s.do("GET", "/me", "", as...), http.StatusUnauthorized, "unauthorized")
	list := admin[openapi.ErasurePage](s, "GET", "/erasures", "", http.StatusOK)
	if len(list.Erasures) != 1 || *list.Erasures[0].CustomerId != ada.id || list.Erasures[0].Actor != "customer "+ada.id.String() {
		t.Errorf("%+v", list)
	}
}

func TestOneIsErasedOnceHoweverManyRequestsAskForItAtOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ada := s.person("ada", openapi.RoleCustomer)
	// A lock has all of them past the password before the first erases.
	tx, err := s.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM customers WHERE id = $1 FOR SHARE`, ada.id); err != nil {
		t.Fatal(err)
	}
	const times = 5
	answers := make([]*httptest.ResponseRecorder, times)
	erase := func(i int) func() {
		return func() {
			answers[i] = s.do("POST", "/me/erasure", `{"password":"correct horse battery"}`, "Authorization", ada.bearer)
		}
	}
	together(erase(0), erase(1), erase(2), erase(3), erase(4), func() {
		testbed.Eventually(t, "all of them wait", func() bool {
			var n int
			s.scan(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM customers%FOR UPDATE%'`, &n)
			return n == times
		})
		if err := tx.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for _, w := range answers {
		if w.Code != http.StatusNoContent {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if list := admin[openapi.ErasurePage](s, "GET", "/erasures", "", http.StatusOK); len(list.Erasures) != 1 {
		t.Errorf("%+v", list)
	}
	var told int
	if s.scan(`SELECT count(*) FROM events WHERE type = 'customer.erased'`, &told); told != 1 {
		t.Errorf("it is told %d times", told)
	}
}

func TestErasingTwiceIsNoErrorAndTheKeysAnswerIsKept(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ada := s.person("ada", openapi.RoleCustomer)
	byID := fmt.Sprintf(`{"customerId":%q}`, ada.id)
	first := admin[openapi.Erasure](s, "POST", "/erasures", byID, http.StatusCreated)
	if second := admin[openapi.Erasure](s, "POST", "/erasures", byID, http.StatusCreated); second.Id == first.Id || *second.CustomerId != ada.id || second.Orders != 0 {
		t.Errorf("%+v", second)
	}
	const byEmail = `{"email":"ada@example.com"}`
	third := want[openapi.Erasure](t, s.asAdmin("POST", "/erasures", byEmail, "Idempotency-Key", "one"), http.StatusCreated)
	w := s.asAdmin("POST", "/erasures", byEmail, "Idempotency-Key", "one")
	if fourth := want[openapi.Erasure](t, w, http.StatusCreated); fourth.Id != third.Id || third.CustomerId != nil || w.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("%+v %+v", third, fourth)
	}
	wantProblem(t, s.asAdmin("POST", "/erasures", `{"email":"eve@example.com"}`, "Idempotency-Key", "one"), http.StatusConflict, "idempotency_key_reused")
	wantProblem(t, s.asAdmin("POST", "/erasures", `{"customerId":"01a216d9-58eb-7b35-981c-707f3f70cbb1"}`), http.StatusNotFound, "customer_not_found")
	page := admin[openapi.ErasurePage](s, "GET", "/erasures?limit=2", "", http.StatusOK)
	rest := admin[openapi.ErasurePage](s, "GET", "/erasures?limit=2&cursor="+*page.NextCursor, "", http.StatusOK)
	if len(page.Erasures) != 2 || len(rest.Erasures) != 1 || rest.Erasures[0].Id != first.Id || rest.NextCursor != nil {
		t.Errorf("%+v %+v", page, rest)
	}
}

func TestTheAccountsOfStaffAreNotErased(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	clerk := s.person("clerk", openapi.RoleManager)
	for _, by := range []string{fmt.Sprintf(`{"customerId":%q}`, clerk.id), `{"email":"clerk@example.com"}`} {
		wantProblem(t, s.asAdmin("POST", "/erasures", by), http.StatusConflict, "staff_account")
	}
	wantProblem(t, s.do("POST", "/me/erasure", `{"password":"correct horse battery"}`, "Authorization", clerk.bearer), http.StatusConflict, "staff_account")
	admin[openapi.Customer](s, "PATCH", "/customers/"+clerk.id.String(), `{"role":"customer"}`, http.StatusOK)
	admin[openapi.Erasure](s, "POST", "/erasures", `{"email":"clerk@example.com"}`, http.StatusCreated)
}

// TestAnUnconfirmedAddressIsNoKeyToWhatOthersBoughtWithIt has somebody register
// with a guest's address.
func TestAnUnconfirmedAddressIsNoKeyToWhatOthersBoughtWithIt(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	placed := want[openapi.Order](t, s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 5), 1)).order(), http.StatusCreated)
	path := "/orders/" + placed.Id.String()
	for _, to := range []string{"processing", "shipped", "delivered"} {
		admin[openapi.Order](s, "POST", path+"/transitions", fmt.Sprintf(`{"to":%q}`, to), http.StatusOK)
	}
	eve := s.person("ada", openapi.RoleCustomer) // the guest's name
	as := []string{"Authorization", eve.bearer}
	if data := want[openapi.PersonalData](t, s.do("GET", "/me/personal-data", "", as...), http.StatusOK); len(data.Orders) != 0 || len(data.Carts) != 0 || data.Email != nil || len(data.Mails) != 1 {
		t.Errorf("%s", encode(t, data))
	}
	if w := s.do("POST", "/me/erasure", `{"password":"correct horse battery"}`, as...); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if o := admin[openapi.Order](s, "GET", path, "", http.StatusOK); o.Email != "ada@example.com" || o.ShippingAddress.Name != "Ada" {
		t.Errorf("%s", encode(t, o))
	}
	var mails int
	if s.scan(`SELECT count(*) FROM river_job WHERE kind = 'email' AND args->>'to' = 'ada@example.com'`, &mails); mails != 2 { // placed and shipped
		t.Errorf("%d mails about the order are left", mails)
	}
	ada := s.person("ada", openapi.RoleCustomer)
	if _, err := s.Pool.Exec(t.Context(), `UPDATE customers SET email_verified = true`); err != nil {
		t.Fatal(err)
	}
	if data := want[openapi.PersonalData](t, s.do("GET", "/me/personal-data", "", "Authorization", ada.bearer), http.StatusOK); len(data.Orders) != 1 || *data.Email != "ada@example.com" {
		t.Errorf("%s", encode(t, data))
	}
}

// TestAnOrderAndAnErasureAtOnceDoNotMiss has guests order as they are erased.
func TestAnErasedOrderIsNobodysWhoeverHasItsCartsToken(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method, mug := s.shipping(), s.stocked("MUG", "10.00", 10)
	ada := s.person("ada", openapi.RoleCustomer)
	brought := s.cartOf(method, line(mug, 1)) // a guest's, until she logs in with it
	in := openapi.LoginInput{Email: "ada@example.com", Password: "correct horse battery", Cart: &openapi.CartKey{Id: brought.cart.Id, Token: brought.token}}
	want[openapi.Tokens](t, s.do("POST", "/auth/login", encode(t, in)), http.StatusOK)
	placed := s.do("POST", "/orders", fmt.Sprintf(`{"cartId":%q,"payment":{"provider":"test"}}`, brought.cart.Id), "Authorization", ada.bearer)
	orders := map[string]guest{"/orders/" + want[openapi.Order](t, placed, http.StatusCreated).Id.String(): brought}
	g := s.cartOf(method, line(mug, 1))
	path := "/orders/" + want[openapi.Order](t, g.order(), http.StatusCreated).Id.String()
	orders[path] = g
	want[openapi.Order](t, g.do("GET", path, ""), http.StatusOK)
	for path := range orders {
		admin[openapi.Order](s, "POST", path+"/cancel", `{}`, http.StatusOK)
	}
	if done := admin[openapi.Erasure](s, "POST", "/erasures", `{"email":"ada@example.com"}`, http.StatusCreated); done.Orders != 2 {
		t.Fatalf("%d orders are erased", done.Orders)
	}
	for path, holder := range orders {
		wantProblem(t, holder.do("GET", path, ""), http.StatusNotFound, "order_not_found")
		wantProblem(t, holder.do("GET", path+"/timeline", ""), http.StatusNotFound, "order_not_found")
		admin[openapi.Order](s, "GET", path, "", http.StatusOK)
	}
}

func TestAnOrderAndAnErasureAtOnceDoNotMiss(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 1000)
	for range rounds {
		g := s.cartOf(method, line(mug, 1))
		var placed, erased *httptest.ResponseRecorder
		together(func() { placed = g.order() }, func() { erased = s.asAdmin("POST", "/erasures", `{"email":"ada@example.com"}`) })
		switch {
		case placed.Code == http.StatusCreated:
			wantProblem(t, erased, http.StatusConflict, "orders_open")
			admin[openapi.Order](s, "POST", "/orders/"+decode[openapi.Order](t, placed).Id.String()+"/cancel", `{}`, http.StatusOK)
		default:
			want[openapi.Erasure](t, erased, http.StatusCreated)
			wantProblem(t, placed, http.StatusNotFound, "cart_not_found")
		}
	}
	s.wantAddedUp()
}

// TestWhatComesLateIsErasedToo has a provider tell of a payment, and a request
// that was on its way open a cart, after the erasure.
func TestWhatComesLateIsErasedToo(t *testing.T) {
	t.Parallel()
	m := newMarked(t)
	m.arrive()
	payment := admin[openapi.Order](m.store, "GET", "/orders/"+m.orders[0], "", http.StatusOK).Payments[0].Id.String()
	late := m.tells(admin[openapi.PaymentDetails](m.store, "GET", "/payments/"+payment, "", http.StatusOK).Reference)
	admin[openapi.Erasure](m.store, "POST", "/erasures", fmt.Sprintf(`{"customerId":%q}`, m.person.id), http.StatusCreated)
	m.wantHeard(late)
	if _, err := m.Pool.Exec(t.Context(), `INSERT INTO carts (id, customer_id, currency, content, expires_at) VALUES (gen_random_uuid(), $1, 'EUR', '{"vatId":"zaphodmarker"}', now() + interval '1 day')`, m.person.id); err != nil {
		t.Fatal(err)
	}
	if left := m.found(marker); left["carts.content"] != 1 {
		t.Fatalf("%v", left)
	}
	if n, err := m.Privacy.Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if left := m.found(marker); len(left) > 0 {
		t.Errorf("the marker is still in %v", left)
	}
	// An erased order is refunded as any other, and nobody is told by mail.
	var mails int
	admin[openapi.Order](m.store, "POST", "/orders/"+m.orders[0]+"/transitions", `{"to":"refunded"}`, http.StatusOK)
	if m.scan(`SELECT count(*) FROM river_job WHERE kind = 'email' AND state <> 'running'`, &mails); mails != 0 {
		t.Errorf("%d mails are to be sent", mails)
	}
}

// TestTheAuditLogLosesWordsToAnErasureAndNothingElse tries to change it in the
// transaction of one.
func TestTheAuditLogLosesWordsToAnErasureAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	order := want[openapi.Order](t, s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 5), 1)).order(), http.StatusCreated)
	want[openapi.TimelineEntry](t, s.asAdmin("POST", "/orders/"+order.Id.String()+"/notes", `{"text":"call first"}`), http.StatusCreated)
	entries := func() (text string) {
		s.scan(`SELECT string_agg((to_jsonb(a) - 'words')::text, E'\n' ORDER BY sequence) FROM audit a`, &text)
		return text
	}
	before := entries()
	try := func(statements ...string) error {
		return pgx.BeginFunc(t.Context(), s.Pool, func(tx pgx.Tx) (err error) {
			for _, statement := range statements {
				if _, err = tx.Exec(t.Context(), statement); err != nil {
					return err
				}
			}
			return nil
		})
	}
	const erasure = `INSERT INTO erasures (id, orders, actor, created_at) VALUES (gen_random_uuid(), 0, 'test', now())`
	for _, refused := range [][]string{
		{`UPDATE audit SET actor = 'nobody'`}, {erasure, `DELETE FROM audit`}, {erasure, `TRUNCATE audit`},
		{erasure, `UPDATE erasures SET orders = 1`}, {erasure, `DELETE FROM erasures`}, {erasure, `TRUNCATE erasures`},
	} {
		if err := try(refused...); err == nil || !strings.Contains(err.Error(), "only added to") {
			t.Errorf("%s: %v", refused, err)
		}
	}
	if err := try(erasure); err != nil {
		t.Fatal(err)
	}
	if err := try(`UPDATE audit SET actor = 'nobody'`); err == nil { // there was one, in another transaction
		t.Error("the log can be changed after an erasure")
	}
	if entries() != before {
		t.Error("what is refused changed the log")
	}
	if err := try(erasure, `UPDATE audit SET actor = 'nobody', at = now(), action = '', after = '{}', before = NULL, address = '', object_id = ''`); err != nil {
		t.Fatal(err)
	}
	if got, want := entries(), strings.ReplaceAll(before, "call first", "[erased]"); got != want || got == before {
		t.Errorf("%s\nbecame\n%s", before, got)
	}
	if found := admin[openapi.AuditPage](s, "GET", "/audit?q=call", "", http.StatusOK); len(found.Entries) != 0 {
		t.Errorf("%+v", found)
	}
}
