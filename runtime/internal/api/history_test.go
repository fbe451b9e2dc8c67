package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

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
	lines := []string{
		`{"email":"none"}`,
		`{"email":"eve@example.com","role":"admin"}`,
		`{"email":"clerk@example.com","name":"Not me"}`,
		`{"email":"clerk@example.com","role":"customer"}`,
		`{"email":"clerk@example.com","role":"manager"}`, // as it is
		fmt.Sprintf(`{"email":"new@example.com","id":%q}`, other.id),
		`{"email":"new@example.com","addresses":[{"address":{"name":"A","line1":"L","city":"C","country":"XX"}}]}`,
		`{"email":"new@example.com","password":"correct horse battery"}`,
		`{"email":"new@example.com"}`,
		`{"email":"NEW@example.com","name":"Again"}`,
	}
	i := s.bring("customers", "jsonl", strings.Join(lines, "\n"))
	s.counts(i, 1, 0, 1, 8)
	want := map[int64]string{1: "/email", 2: "/role", 3: "/email", 4: "/role", 6: "/id", 7: "/addresses/0/address/country", 8: "/password", 10: "/email"}
	for _, r := range s.refusals(i) {
		if len(r.Errors) != 1 || r.Errors[0].Pointer != want[r.Row] {
			t.Errorf("row %d is refused by %+v", r.Row, r)
		}
	}
	if there := s.registered(); there["clerk@example.com"].Role != openapi.RoleManager || there["clerk@example.com"].Id != clerk.id || len(there) != 3 {
		t.Errorf("%+v", there)
	}
	if w := s.do("POST", "/imports", `{"kind":"customers","format":"csv"}`, "Authorization", clerk.bearer); w.Code != http.StatusForbidden {
		t.Errorf("a manager is answered %d", w.Code)
	}
}
