package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const people = "\xef\xbb\xbfemail,name,emailVerified,createdAt,addressName,line1,city,postalCode,country,default\r\n" +
	"Ada@Example.com,Ada,true,2019-05-01T10:00:00Z,Ada,Street 1,Berlin,'0115,DE,true\r\n" +
	"Ada@Example.com,,,,Ada L.,Rue 2,Paris,75001,FR,\r\n" +
	"bob@example.com,'=Bob,,,,,,,,\r\n"

// registered are the customers by their addresses, without ids.
func (s *store) registered() map[string]openapi.Customer {
	s.t.Helper()
	all := map[string]openapi.Customer{}
	for _, c := range admin[openapi.CustomerPage](s, "GET", "/customers?limit=100", "", http.StatusOK).Customers {
		all[c.Email] = c
	}
	return all
}

func TestCustomersComeInAndGoOutAsTheyAre(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.counts(s.bring("customers", "csv", people), 2, 0, 0, 0)
	s.counts(s.bring("customers", "csv", people), 0, 0, 2, 0)
	there := s.registered()
	if ada := there["ada@example.com"]; ada.Name != "Ada" || !ada.EmailVerified || ada.CreatedAt.Year() != 2019 || ada.Role != openapi.RoleCustomer || there["bob@example.com"].Name != "=Bob" {
		t.Errorf("%+v", there)
	}
	if first := admin[openapi.CustomerPage](s, "GET", "/customers?limit=1", "", http.StatusOK).Customers[0]; first.Email != "bob@example.com" {
		t.Errorf("who came first in 2019 is listed as the newest: %+v", first)
	}
	for _, format := range []string{"csv", "jsonl"} {
		file := s.out("customers", format)
		if !strings.Contains(file, "Rue 2") || format == "csv" && !strings.Contains(file, ",'=Bob,") {
			t.Errorf("%s", file)
		}
		s.counts(s.bring("customers", format, file), 0, 0, 2, 0)
		empty := newStore(t)
		empty.counts(empty.bring("customers", format, file), 2, 0, 0, 0)
		if again := empty.out("customers", format); again != file {
			t.Errorf("%s came back as %s", file, again)
		}
	}
}

func TestWhoIsBroughtInHasNoPasswordUntilTheySetOne(t *testing.T) {
	t.Parallel()
	m := newMailing(t)
	m.counts(m.bring("customers", "csv", "email,name\nada@example.com,Ada\n"), 1, 0, 0, 0)
	for _, password := range []string{"", "correct horse battery"} {
		if w := m.do("POST", "/auth/login", encode(t, openapi.LoginInput{Email: "ada@example.com", Password: password})); w.Code != http.StatusUnauthorized {
			t.Errorf("%q is answered %d %s", password, w.Code, w.Body)
		}
	}
	if mails := m.server.Mails(); len(mails) != 0 {
		t.Errorf("an import sent %v", mails)
	}
	want[openapi.Accepted](t, m.do("POST", "/auth/password-reset", `{"email":"ada@example.com"}`), http.StatusAccepted)
	mailed := m.mailed("A new password")
	_, rest, _ := strings.Cut(mailed, "within an hour:")
	token := strings.Fields(rest)[0]
	if w := m.do("POST", "/auth/password-reset/confirm", fmt.Sprintf(`{"token":%q,"password":"a new horse battery"}`, token)); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s: %s", w.Code, w.Body, mailed)
	}
	want[openapi.Tokens](t, m.do("POST", "/auth/login", `{"email":"ada@example.com","password":"a new horse battery"}`), http.StatusOK)
}

// TestAnImportOfCustomersChangesWhatItSaysAndNothingElse has some be there.
func TestAnImportOfCustomersChangesWhatItSaysAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ada := s.person("ada", openapi.RoleCustomer)
	as := []string{"Authorization", ada.bearer}
	want[openapi.SavedAddress](t, s.do("POST", "/me/addresses", encode(t, openapi.SavedAddressInput{Address: berlin}), as...), http.StatusCreated)
	s.counts(s.bring("customers", "csv", "email,name\nADA@example.com,Ada Lovelace\n"), 0, 1, 0, 0)
	if me := want[openapi.Customer](t, s.do("GET", "/me", "", as...), http.StatusOK); me.Name != "Ada Lovelace" || me.Id != ada.id || me.EmailVerified {
		t.Errorf("%+v", me)
	}
	saved := func() []openapi.SavedAddress {
		return want[openapi.AddressList](t, s.do("GET", "/me/addresses", "", as...), http.StatusOK).Addresses
	}
	if all := saved(); len(all) != 1 || all[0].Address.Line1 != "Street 1" {
		t.Errorf("%+v", all)
	}
	s.counts(s.bring("customers", "jsonl", `{"email":"ada@example.com","addresses":[{"address":{"name":"A","line1":"L","city":"C","country":"FR"},"default":true}]}`), 0, 1, 0, 0)
	if all := saved(); len(all) != 1 || all[0].Address.City != "C" || !all[0].Default {
		t.Errorf("%+v", all)
	}
	want[openapi.Tokens](t, s.logIn("ada", nil), http.StatusOK) // by the password that she has
	s.counts(s.bring("customers", "jsonl", `{"email":"ada@example.com","locked":true}`), 0, 1, 0, 0)
	wantProblem(t, s.do("GET", "/me", "", as...), http.StatusUnauthorized, "unauthorized")
}

func TestAnImportOfCustomersSaysWhichItRefusesAndMakesNobodyStaff(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	clerk := s.person("clerk", openapi.RoleManager)
	other := s.person("other", openapi.RoleCustomer)
	for _, c := range []struct{ record, pointer string }{
		{`{"email":"none"}`, "/email"},
		{`{"email":"eve@example.com","role":"admin"}`, "/role"},
		{`{"email":"clerk@example.com","name":"Not me"}`, "/email"},
		{`{"email":"clerk@example.com","role":"customer"}`, "/role"},
		{fmt.Sprintf(`{"email":"new@example.com","id":%q}`, other.id), "/id"},
		{`{"email":"new@example.com","addresses":[{"address":{"name":"A","line1":"L","city":"C","country":"XX"}}]}`, "/addresses/0/address/country"},
		{`{"email":"new@example.com","password":"correct horse battery"}`, "/password"},
	} {
		i := s.bring("customers", "jsonl", c.record)
		s.counts(i, 0, 0, 0, 1)
		if r := s.refusals(i)[0]; len(r.Errors) != 1 || r.Errors[0].Pointer != c.pointer {
			t.Errorf("%s is refused by %+v", c.record, r)
		}
	}
	i := s.bring("customers", "jsonl", `{"email":"clerk@example.com","role":"manager"}`+"\n"+`{"email":"new@example.com"}`+"\n"+`{"email":"NEW@example.com","name":"Again"}`)
	s.counts(i, 1, 0, 1, 1)
	if r := s.refusals(i)[0]; r.Row != 3 || len(r.Errors) != 1 || r.Errors[0].Pointer != "/email" {
		t.Errorf("%+v", r)
	}
	if there := s.registered(); there["clerk@example.com"].Role != openapi.RoleManager || there["clerk@example.com"].Id != clerk.id || len(there) != 3 {
		t.Errorf("%+v", there)
	}
	if w := s.do("POST", "/imports", `{"kind":"customers","format":"csv"}`, "Authorization", clerk.bearer); w.Code != http.StatusForbidden {
		t.Errorf("a manager is answered %d", w.Code)
	}
}

const history = "number,state,createdAt,email,currency,total,shipping,sku,title,quantity,unitPrice,lineDiscount,lineTax,shippingName,shippingCountry\n" +
	"#7001,completed,2019-05-01T10:00:00Z,Ada@example.com,EUR,26.90,4.90,MUG,'=Mug,2,10.00,,3.19,Ada,DE\n" +
	"#7001,,,,,,,POT,Old pot,1,3.00,1.00,0.32,,\n" +
	"7002,refunded,2020-01-01T00:00:00+01:00,bob@example.com,EUR,11.90,,MUG,Mug,1,10.00,,1.90,Bob,FR\n" +
	"7003,cancelled,2020-01-02T00:00:00Z,,JPY,500,,CUP,Cup,1,500,,,,\n"

// byNumber is an order as staff see it.
func (s *store) byNumber(number string) openapi.Order {
	s.t.Helper()
	found := admin[openapi.OrderPage](s, "GET", "/orders?number="+number, "", http.StatusOK).Orders
	if len(found) != 1 {
		s.t.Fatalf("of the number %s are %d orders", number, len(found))
	}
	return admin[openapi.Order](s, "GET", "/orders/"+found[0].Id.String(), "", http.StatusOK)
}

func TestOrdersThatArePastComeInAsTheyWere(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 5)
	s.counts(s.bring("customers", "jsonl", `{"email":"ada@example.com","emailVerified":true}`+"\n"+`{"email":"bob@example.com"}`), 2, 0, 0, 0)
	s.counts(s.bring("orders", "csv", history), 3, 0, 0, 0)
	s.counts(s.bring("orders", "csv", history), 0, 0, 3, 0)
	ada, bob, nobody := s.byNumber("7001"), s.byNumber("7002"), s.byNumber("7003")
	if ada.State != "completed" || ada.Totals.Subtotal != "23.00" || ada.Totals.Discount != "1.00" || ada.Totals.Tax != "3.51" || !ada.Totals.PricesIncludeTax || len(ada.Lines) != 2 ||
		ada.Lines[0].VariantId != mug.Id || ada.Lines[0].Title != "=Mug" || ada.Lines[1].Total != "2.00" || ada.CreatedAt.Year() != 2019 || *ada.CustomerId != s.registered()["ada@example.com"].Id {
		t.Errorf("%s", encode(t, ada))
	}
	if bob.Totals.PricesIncludeTax || bob.Totals.Total != "11.90" || bob.Lines[0].Total != "11.90" || bob.CustomerId != nil || bob.ShippingAddress.Country != "FR" {
		t.Errorf("%s: an address that is not confirmed is nobody's", encode(t, bob))
	}
	if nobody.Email != "" || nobody.Totals.Total != "500" || len(nobody.Payments) != 0 {
		t.Errorf("%s", encode(t, nobody))
	}
	// Nothing else came of it.
	var jobs, placed, told int
	s.scan(`SELECT count(*) FILTER (WHERE kind = 'email') FROM river_job`, &jobs)
	s.scan(`SELECT count(*) FILTER (WHERE type = 'order.placed'), count(*) FILTER (WHERE type = 'order.imported' AND topic = 'orders') FROM events`, &placed, &told)
	if l := s.level("MUG"); jobs != 0 || placed != 0 || told != 3 || l.OnHand != 5 || l.Reserved != 0 {
		t.Errorf("%d mails, %d placed, %d told, %+v", jobs, placed, told, l)
	}
	// The store's own numbers go on behind them.
	own := want[openapi.Order](t, s.cartOf(s.shipping(), line(mug, 1)).order(), http.StatusCreated)
	if own.Number != "7004" {
		t.Errorf("the next order has the number %s", own.Number)
	}
	if page := admin[openapi.OrderPage](s, "GET", "/orders?limit=2", "", http.StatusOK); page.Orders[0].Number != "7004" || page.Orders[1].Number != "7003" {
		t.Errorf("the newest are %+v", page.Orders)
	}
	admin[openapi.Order](s, "POST", "/orders/"+ada.Id.String()+"/transitions", `{"to":"refunded"}`, http.StatusOK)
	s.wantAddedUp()
}

func TestWhatGoesOutOfAStoreComesIntoAnEmptyOneAsItWas(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 500)
	ada := s.person("ada", openapi.RoleCustomer)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"P","code":"P","kind":"percentage","percent":"10"}`, http.StatusCreated)
	ends := [][]string{{"processing", "shipped", "delivered"}, {"cancelled"}, {"processing", "shipped", "refunded"}, {"processing", "shipped", "delivered", "completed"}}
	for i, end := range ends {
		in := openapi.CartInput{
			Lines: &[]openapi.CartLineInput{line(mug, 3)}, Coupons: &[]string{"P"}, ShippingAddress: &berlin, BillingAddress: &markedAddress, ShippingMethodId: &method.Id, Locale: new("de"),
			Email: new("ada@example.com"),
		}
		as := []string{"Authorization", ada.bearer}
		cart := want[openapi.CreatedCart](t, s.do("POST", "/carts", encode(t, in), as...), http.StatusCreated).Cart
		o := want[openapi.Order](t, s.do("POST", "/orders", fmt.Sprintf(`{"cartId":%q,"payment":{"provider":"test"},"note":"note %d"}`, cart.Id, i), as...), http.StatusCreated)
		for _, to := range end {
			admin[openapi.Order](s, "POST", "/orders/"+o.Id.String()+"/transitions", fmt.Sprintf(`{"to":%q}`, to), http.StatusOK)
		}
	}
	want[openapi.Order](t, s.cartOf(method, line(mug, 1)).order(), http.StatusCreated) // under way, and so not taken
	customers := s.out("customers", "jsonl")
	for _, format := range []string{"jsonl", "csv"} {
		file := s.out("orders", format)
		s.counts(s.bring("orders", format, file), 0, 0, 4, 1)
		empty := newStore(t)
		empty.counts(empty.bring("customers", "jsonl", customers), 1, 0, 0, 0)
		i := empty.bring("orders", format, file)
		empty.counts(i, 4, 0, 0, 1)
		if r := empty.refusals(i); r[0].Errors[0].Pointer != "/state" {
			t.Errorf("%+v", r)
		}
		all := strings.SplitAfter(file, "\n")
		if got, want := empty.out("orders", format), strings.Join(all[:len(all)-2], ""); got != want {
			t.Errorf("%s came back as %s", want, got)
		}
		empty.counts(empty.bring("orders", format, file), 0, 0, 4, 1)
		empty.wantAddedUp()
	}
}

func TestOrdersGoOutWithAFewStatementsForAPageOfThem(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const n = 120
	var file strings.Builder
	for i := range n {
		lines := strings.Repeat(fmt.Sprintf(`,{"sku":"S-%d","title":"T","quantity":1,"unitPrice":"1.00"}`, i), 1+i%3)
		fmt.Fprintf(&file, `{"number":"%d","state":"completed","createdAt":"2020-01-01T00:00:00Z","lines":[%s],"totals":{"currency":"EUR","total":"%d.00"},`+
			`"payments":[{"provider":"p-%d","state":"captured","amount":"%d.00"}]}`+"\n", 7000+i, lines[1:], 1+i%3, i, 1+i%3)
	}
	s.counts(s.bring("orders", "jsonl", file.String()), n, 0, 0, 0)
	before := s.statements.Load()
	out := strings.Split(strings.TrimSpace(s.out("orders", "jsonl")), "\n")
	if taken := s.statements.Load() - before; taken > 12 {
		t.Errorf("%d statements for %d orders", taken, n)
	}
	if len(out) != n {
		t.Fatalf("%d went out", len(out))
	}
	for _, line := range out {
		var o order.Record
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		number, _ := strconv.Atoi(o.Number)
		i := number - 7000
		if len(o.Lines) != 1+i%3 || o.Lines[len(o.Lines)-1].SKU != fmt.Sprintf("S-%d", i) || len(o.Payments) != 1 || o.Payments[0].Provider != fmt.Sprintf("p-%d", i) {
			t.Errorf("of order %d went out %s", number, line)
		}
	}
}

func TestAnImportOfOrdersSaysWhichItRefusesAndWhy(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	own := want[openapi.Order](t, s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 5), 1)).order(), http.StatusCreated)
	record := func(changes ...string) string {
		text := `{"number":"1","state":"completed","createdAt":"2020-01-01T00:00:00Z","lines":[{"sku":"A","title":"A","quantity":2,"unitPrice":"5.00"}],"totals":{"currency":"EUR","total":"10.00"}}`
		return strings.NewReplacer(changes...).Replace(text)
	}
	lines := []struct{ line, pointer string }{
		{record(), ""},
		{record(`"total":"10.00"`, `"total":"10.01"`, `"1"`, `"2"`), "/totals/total"},
		{record(`"currency":"EUR"`, `"currency":"EUR","subtotal":"9.00"`, `"1"`, `"3"`), "/totals/subtotal"},
		{record(`"unitPrice":"5.00"`, `"unitPrice":"5.00","subtotal":"9.00"`, `"1"`, `"4"`), "/lines/0/subtotal"},
		{record(`"unitPrice":"5.00"`, `"unitPrice":"5.00","total":"9.00"`, `"1"`, `"5"`), "/lines/0/total"},
		{record(`"unitPrice":"5.00"`, `"unitPrice":"5.00","discount":"11.00"`, `"1"`, `"6"`), "/lines/0/discount"},
		{record(`completed`, `shipped`, `"1"`, `"7"`), "/state"},
		{record(`"1"`, `"A-8"`), "/number"},
		{record(`"quantity":2`, `"quantity":0`, `"1"`, `"9"`), "/lines/0/quantity"},
		{record(`"EUR"`, `"EUX"`, `"1"`, `"10"`), "/lines/0/unitPrice"},
		{record(`5.00`, `4.00`, `10.00`, `8.00`), "/number"}, // the first's, which it is not
		{record(`"1"`, `"`+own.Number+`"`), "/number"},
		{record(`"number":"1"`, `"number":"13","id":"`+own.Id.String()+`"`), "/id"},
		{record(`"totals"`, `"payments":[{"provider":"test","state":"authorized","amount":"10.00"}],"totals"`, `"1"`, `"14"`), "/payments/0/state"},
		{record(`"totals"`, `"payments":[{"provider":"test","state":"captured","amount":"10.00"}],"totals"`, `"1"`, `"15"`, "completed", "cancelled"), "/payments/0/refunded"},
		{record(`"totals"`, `"colour":"red","totals"`, `"1"`, `"16"`), "/colour"},
	}
	var file strings.Builder
	for _, l := range lines {
		file.WriteString(l.line + "\n")
	}
	i := s.bring("orders", "jsonl", file.String())
	s.counts(i, 1, 0, 0, int64(len(lines)-1))
	for n, r := range s.refusals(i) {
		if l := lines[n+1]; r.Row != int64(n+2) || r.Errors[0].Pointer != l.pointer {
			t.Errorf("%s is refused by %+v", l.line, r)
		}
	}
	manager := s.person("manager", openapi.RoleManager)
	if w := s.do("POST", "/imports", `{"kind":"orders","format":"csv"}`, "Authorization", manager.bearer); w.Code != http.StatusForbidden {
		t.Errorf("a manager is answered %d", w.Code)
	}
}

// TestNumbersThatComeInAndThoseThatAreTakenAtOnceAreNeverTheSame has buyers
// order while an import moves the store's own numbers.
func TestNumbersThatComeInAndThoseThatAreTakenAtOnceAreNeverTheSame(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 1000)
	for i := range rounds {
		var file strings.Builder
		file.WriteString("number,state,createdAt,currency,total,sku,title,quantity,unitPrice\n")
		for n := range 20 {
			fmt.Fprintf(&file, "%d,completed,2020-01-01T00:00:00Z,EUR,1.00,A,A,1,1.00\n", 2000+100*i+n)
		}
		all := []func(){func() { s.counts(s.bring("orders", "csv", file.String()), 20, 0, 0, 0) }}
		for range 6 {
			g := s.cartOf(method, line(mug, 1))
			all = append(all, func() {
				if w := g.order(); w.Code != http.StatusCreated {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		together(all...)
	}
	var orders int
	if s.scan(`SELECT count(DISTINCT number) FROM orders`, &orders); orders != rounds*26 {
		t.Errorf("%d orders", orders)
	}
	s.wantAddedUp()
}

func TestNothingComesInFromTheFuture(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const header = "number,state,createdAt,currency,total,sku,title,quantity,unitPrice\n"
	row := func(number int, at time.Time) string {
		return fmt.Sprintf("%d,completed,%s,EUR,1.00,MUG,Mug,1,1.00\n", number, at.UTC().Format(time.RFC3339))
	}
	now := s.clock.now()
	i := s.bring("orders", "csv", header+row(1, now.Add(5*time.Minute))+row(2, now.AddDate(0, 1, 0)))
	s.counts(i, 1, 0, 0, 1)
	if r := s.refusals(i)[0]; r.Row != 3 || len(r.Errors) != 1 || r.Errors[0].Pointer != "/createdAt" || r.Errors[0].Detail != "is in the future" {
		t.Errorf("%+v", r)
	}
	s.counts(s.bring("orders", "jsonl", `{"number":"3","state":"completed","createdAt":"2199-01-01T00:00:00Z","lines":[{"sku":"MUG","title":"Mug","quantity":1,"unitPrice":"1.00"}],"totals":{"currency":"EUR","total":"1.00"}}`), 0, 0, 0, 1)
	s.counts(s.bring("customers", "csv", "email,createdAt\nada@example.com,2199-01-01T00:00:00Z\n"), 0, 0, 0, 1)
}

func TestWhoBroughtAnOrderInIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("orders", "csv", history)
	page := admin[openapi.AuditPage](s, "GET", "/audit?action=continueImport&object=order", "", http.StatusOK)
	if len(page.Entries) != 3 || page.Entries[0].Change != "created" || page.Entries[0].Actor != "key first" {
		t.Fatalf("%+v", page.Entries)
	}
	for _, e := range page.Entries {
		if raw := encode(t, e); strings.Contains(strings.ToLower(raw), "ada@example.com") || strings.Contains(raw, `"Bob"`) {
			t.Errorf("an entry says whose the order is: %s", raw)
		}
	}
}

func TestTheOrderThatTheDocumentationShowsComesIn(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/concepts/transfer.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("```json\n"))
	text, _, _ = bytes.Cut(text, []byte("```"))
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	s.counts(s.bring("orders", "jsonl", line.String()), 1, 0, 0, 0)
}
