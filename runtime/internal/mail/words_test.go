package mail

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/money"
)

func euros(minor int64) money.Amount { return money.Amount{Minor: minor, Currency: "EUR"} }

// nasty is what a customer may have typed.
const nasty = "<script>alert(1)</script>\r\nBcc: all@example.com\n\nPay at evil.example"

func facts() page {
	line := Line{Title: "Mug & " + nasty, SKU: "MUG-1", Options: "red, XL", Quantity: 3, Total: euros(123450)}
	return page{
		Shop: "Ada's shop", URL: "https://shop.example/a?b&c", Token: "t0ken",
		Order: &Order{
			Number: "1001", PlacedAt: time.Date(2027, 3, 28, 1, 30, 0, 0, time.FixedZone("", 2*60*60)), AwaitsPayment: true,
			PaymentDueAt: time.Date(2027, 3, 28, 0, 0, 0, 0, time.UTC), Lines: []Line{line},
			Subtotal: euros(123450), Discount: euros(999), Shipping: euros(490), Tax: euros(19633), Total: euros(122941),
			ShippingMethod: "Parcel", ShipTo: []string{"Eve " + nasty, "Street 1"}, BillTo: []string{"Ada", "Street 2"},
			Package: &Package{Lines: []Line{line}, Tracking: []Tracking{{Carrier: "DHL " + nasty, Number: "0034 " + nasty, URL: "https://dhl.example/0034"}}, Rest: true},
			Return:  &Return{Lines: []Line{line}, Answer: "Send it to the shop."}, Refund: euros(122941),
		},
		Cart:  &Cart{Name: "Eve " + nasty, Lines: []Line{line}, Total: euros(123450)},
		Stock: []Stock{{Title: "Mug " + nasty, SKU: "MUG-1", Available: 2}},
	}
}

func TestEveryTemplateTellsItsFactsInEveryLocaleAndNothingElseThatCustomersTyped(t *testing.T) {
	t.Parallel()
	about := map[subject][]string{
		aboutNothing: nil, aboutCustomer: {"t0ken"}, aboutCart: {"MUG-1", "red, XL", "3 "}, aboutVariants: {"MUG-1", "2"}, aboutOrder: {"1001"}, aboutReturn: {"1001", "MUG-1", "Send it to the shop."},
	}
	amounts := map[string]string{"en": "1,234.50 EUR", "de": "1.234,50 EUR"}
	for tag := range spoken {
		for template, of := range subjects {
			w, err := say(template, facts(), tag)
			if err != nil {
				t.Errorf("%s %s: %v", tag, template, err)
				continue
			}
			if w.subject == "" || strings.ContainsAny(w.subject, "\r\n") || strings.Contains(w.subject, "evil") {
				t.Errorf("%s %s: the subject is %q", tag, template, w.subject)
			}
			want := about[of]
			if of == aboutOrder || of == aboutCart {
				want = append(want, amounts[tag], "MUG-1")
			}
			for kind, body := range map[string]string{"text": w.text, "HTML": w.html} {
				for _, fact := range want {
					if !strings.Contains(body, fact) {
						t.Errorf("%s %s: no %q in its %s:\n%s", tag, template, fact, kind, body)
					}
				}
				if strings.Contains(body, "no value") || strings.Contains(body, "\nBcc:") || strings.Contains(body, "\nPay at") || strings.Contains(body, "\n\n\n") && kind == "text" {
					t.Errorf("%s %s: its %s is\n%s", tag, template, kind, body)
				}
			}
			if strings.Contains(w.html, "<script") || !strings.Contains(w.html, `<html lang="`+tag+`">`) || !strings.Contains(w.html, "https://shop.example/a?b&amp;c") {
				t.Errorf("%s %s: its HTML is\n%s", tag, template, w.html)
			}
			if !strings.Contains(w.text, "https://shop.example/a?b&c") {
				t.Errorf("%s %s: its text has no URL:\n%s", tag, template, w.text)
			}
		}
	}
}

func TestAMailAboutAnOrderTellsWhatItCostsAndWhereItGoesAndWhetherItIsPaid(t *testing.T) {
	t.Parallel()
	said := func(change func(*page), t Template, tag string) string {
		p := facts()
		if change != nil {
			change(&p)
		}
		w, err := say(t, p, tag)
		return fmt.Sprint(w.subject, "\n", w.text, err)
	}
	waits := said(nil, OrderPlaced, "en")
	for _, fact := range []string{
		"Your order 1001\n", "27 March 2027", "waits for your payment until 28 March 2027, 00:00 UTC", "Discount: -9.99 EUR", "Shipping (Parcel): 4.90 EUR",
		"Tax: 196.33 EUR", "Total: 1,229.41 EUR", "To be sent to:", "  Street 1\n", "Billed to:", "  Street 2\n",
	} {
		if !strings.Contains(waits, fact) {
			t.Errorf("no %q in\n%s", fact, waits)
		}
	}
	paid := said(func(p *page) { p.Order.AwaitsPayment = false }, OrderPlaced, "de")
	if strings.Contains(paid, "wartet") || !strings.Contains(paid, "27.03.2027") || !strings.Contains(paid, "Gesamt: 1.229,41 EUR") {
		t.Error(paid)
	}
	edited, even := said(func(p *page) { p.Order.Due = money.Amount{Minor: 510, Currency: "EUR"} }, OrderEdited, "en"), said(nil, OrderEdited, "de")
	if !strings.Contains(edited, "Still to be paid: 5.10 EUR") || strings.Contains(even, "Noch zu zahlen") || !strings.Contains(even, "wurde geändert") {
		t.Error(edited, even)
	}
	late, asked := said(func(p *page) { p.Unpaid = true }, OrderCancelled, "en"), said(nil, OrderCancelled, "en")
	if !strings.Contains(late, "did not come in time") || strings.Contains(asked, "did not come in time") {
		t.Error(late, asked)
	}
}

func TestALocaleFallsBackToItsLanguageThenToTheStoresThenToEnglish(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ customer, store, want string }{
		{"de", "en", "de"}, {"DE-at", "en", "de"}, {"fr", "de-CH", "de"}, {"", "de", "de"}, {"fr", "it", "en"}, {"", "", "en"}, {"en-GB", "de", "en"},
	} {
		if got, _ := localeOf(c.customer, c.store); got != c.want {
			t.Errorf("%q in a store of %q is spoken to in %q, not %q", c.customer, c.store, got, c.want)
		}
	}
}

func TestMoneyIsWrittenAsItsCurrencyAndTheLocaleHaveIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount money.Amount
		en, de string
	}{
		{euros(0), "0.00 EUR", "0,00 EUR"}, {euros(99999), "999.99 EUR", "999,99 EUR"}, {euros(-123456789), "-1,234,567.89 EUR", "-1.234.567,89 EUR"},
		{money.Amount{Minor: 1500, Currency: "JPY"}, "1,500 JPY", "1.500 JPY"}, {money.Amount{Minor: -100, Currency: "JPY"}, "-100 JPY", "-100 JPY"},
	} {
		if en, de := spoken["en"].money(c.amount), spoken["de"].money(c.amount); en != c.en || de != c.de {
			t.Errorf("%v is %s and %s, not %s and %s", c.amount, en, de, c.en, c.de)
		}
	}
}
