package mail

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"strings"
	text "text/template"
	"time"
	"unicode"

	"gitee.com/captainjez/gocart/runtime/internal/money"
)

// messages has a folder of words for each locale, and the frame of all HTML.
//
//go:embed messages
var messages embed.FS

// locale is how people are spoken to in a language.
type locale struct {
	decimal, group string
	date, moment   string
	text           *text.Template
	html           map[Template]*template.Template
}

// lastLocale is spoken to those whose language is not.
const lastLocale = "en"

// spoken are the locales that there are words in, by their tags in lower case.
var spoken = withWords(map[string]*locale{
	"en": {decimal: ".", group: ",", date: "2 January 2006", moment: "2 January 2006, 15:04 UTC"},
	"de": {decimal: ",", group: ".", date: "02.01.2006", moment: "02.01.2006, 15:04 UTC"},
})

func withWords(all map[string]*locale) map[string]*locale {
	for tag, l := range all {
		functions := map[string]any{"money": l.money, "date": l.on, "moment": l.at}
		folder := "messages/" + tag + "/"
		l.text = text.Must(text.New(tag).Funcs(functions).ParseFS(messages, folder+"*.txt"))
		l.html = map[Template]*template.Template{}
		for t := range subjects { // each has a content of its own in the frame
			l.html[t] = template.Must(template.New(tag).Funcs(functions).ParseFS(messages,
				"messages/frame.html", folder+"parts.html", folder+string(t)+".html"))
		}
	}
	return all
}

// localeOf is the one that suits best whoever prefers the first of some tags
// that is spoken: as it is, or by its language.
func localeOf(tags ...string) (string, *locale) {
	for _, tag := range append(tags, lastLocale) {
		tag = strings.ToLower(tag)
		language, _, _ := strings.Cut(tag, "-")
		for _, known := range []string{tag, language} {
			if l, ok := spoken[known]; ok {
				return known, l
			}
		}
	}
	panic("there are no words in " + lastLocale)
}

// money is an amount for people: 1,234.50 EUR.
func (l *locale) money(a money.Amount) string {
	whole, fraction, broken := strings.Cut(a.Decimal(), ".")
	var out strings.Builder
	for i, digit := range whole {
		if left := len(whole) - i; i > 0 && left%3 == 0 && whole[i-1] != '-' {
			out.WriteString(l.group)
		}
		out.WriteRune(digit)
	}
	if broken {
		out.WriteString(l.decimal + fraction)
	}
	return out.String() + " " + a.Currency
}

func (l *locale) on(t time.Time) string { return t.UTC().Format(l.date) }
func (l *locale) at(t time.Time) string { return t.UTC().Format(l.moment) }

// page is what the words of a mail can name.
type page struct {
	// Locale is the language that is spoken, Shop the sender's name.
	Locale, Shop, URL string
	Subject           string
	Token             string
	Unpaid            bool
	Order             *Order
	Cart              *Cart
	Stock             []Stock
}

// tidy makes what people typed single lines of some length, so that none of it
// passes for a paragraph of the mail.
func (p *page) tidy() {
	clean := func(all ...*string) {
		for _, s := range all {
			*s = oneLine(*s)
		}
	}
	lines := func(all []Line) {
		for i := range all {
			clean(&all[i].Title, &all[i].SKU, &all[i].Options)
		}
	}
	if o := p.Order; o != nil {
		lines(o.Lines)
		clean(&o.ShippingMethod)
		if o.Return != nil {
			lines(o.Return.Lines)
		}
		if o.Package != nil {
			lines(o.Package.Lines)
			for i := range o.Package.Tracking {
				t := &o.Package.Tracking[i]
				clean(&t.Carrier, &t.Number, &t.URL)
			}
		}
		for _, address := range [][]string{o.ShipTo, o.BillTo} {
			for i := range address {
				clean(&address[i])
			}
		}
	}
	if p.Cart != nil {
		lines(p.Cart.Lines)
		clean(&p.Cart.Name)
	}
	for i := range p.Stock {
		clean(&p.Stock[i].Title, &p.Stock[i].SKU)
	}
}

// longest is how many characters of what somebody typed are shown.
const longest = 120

func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return s
}

// words are a mail's subject and its bodies.
type words struct{ subject, text, html string }

// say words a template about a page, in the first of some locales that is
// spoken.
func say(t Template, p page, locales ...string) (w words, err error) {
	tag, l := localeOf(locales...)
	p.tidy()
	p.Locale = tag
	var out bytes.Buffer
	if err := l.text.ExecuteTemplate(&out, string(t)+".txt", p); err != nil {
		return w, fmt.Errorf("wording a mail: %w", err)
	}
	w.subject, w.text, _ = strings.Cut(out.String(), "\n")
	w.subject = oneLine(w.subject)
	w.text = strings.TrimSpace(w.text) + "\n"
	p.Subject = w.subject
	out.Reset()
	if err := l.html[t].ExecuteTemplate(&out, "frame.html", p); err != nil {
		return w, fmt.Errorf("wording a mail: %w", err)
	}
	w.html = out.String()
	return w, nil
}
