package problem

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gitee.com/captainjez/gocart/runtime/internal/money"
)

// Findings are what is wrong with an input, each with a pointer to it.
type Findings []Field

// Require notes what is wrong unless ok.
func (f *Findings) Require(ok bool, pointer, format string, args ...any) {
	if !ok {
		*f = append(*f, Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
}

// Text wants least to most characters that can be stored and shown.
func (f *Findings) Text(pointer, s string, least, most int) {
	n := utf8.RuneCountInString(s)
	f.Require(n >= least && n <= most, pointer, "must have %d to %d characters, has %d", least, most, n)
	control := strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' })
	f.Require(!control, pointer, "must not hold control characters")
	f.Require(utf8.ValidString(s), pointer, "must be UTF-8")
}

// Line wants a text of one line.
func (f *Findings) Line(pointer, s string, least, most int) {
	f.Text(pointer, s, least, most)
	f.Require(!strings.ContainsAny(s, "\n\r"), pointer, "must be one line")
}

// Words want a text of one line without tabs that is not blank, unless it may be
// empty and is.
func (f *Findings) Words(pointer, s string, least, most int) {
	f.Line(pointer, s, least, most)
	f.Require(s == "" || strings.TrimSpace(s) != "", pointer, "must not be blank")
	f.Require(!strings.Contains(s, "\t"), pointer, "must not hold tabs")
}

// Range wants a number between least and most.
func (f *Findings) Range(pointer string, n, least, most int64) {
	f.Require(n >= least && n <= most, pointer, "must be %d to %d", least, most)
}

// Amount reads a decimal of the currency, in its minor units.
func (f *Findings) Amount(pointer, decimal, currency string) int64 {
	a, err := money.Parse(decimal, currency)
	f.Require(err == nil, pointer, "%v", err)
	return a.Minor
}

// Money reads an amount with its currency, in minor units.
func (f *Findings) Money(pointer, decimal, currency string) int64 {
	if _, err := money.Exponent(currency); err != nil {
		f.Require(false, pointer+"/currency", "%v", err)
		return 0
	}
	return f.Amount(pointer+"/amount", decimal, currency)
}

// Err is one Problem with everything found, or nil.
func (f *Findings) Err() error {
	if len(*f) == 0 {
		return nil
	}
	return Invalid(*f...)
}
