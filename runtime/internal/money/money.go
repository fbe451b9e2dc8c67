// Package money holds amounts exactly: an integer number of a currency's
// smallest unit, never a float. Outside the program an amount is a decimal
// string. The package does no arithmetic that could round.
package money

import (
	"fmt"
	"strconv"
	"strings"
)

// Amount is Minor units of Currency: {1999, "EUR"} is 19.99 EUR and
// {1999, "JPY"} is 1999 JPY.
type Amount struct {
	Minor    int64
	Currency string
}

// Max is the largest amount in minor units that the API takes; sums of a
// thousand such amounts still fit an int64.
const Max = 1_000_000_000_000_000

// Parse reads a decimal that is not negative, with at most as many digits
// after the point as the currency has: "19.99", "19.9" and "19" in EUR. It
// takes no sign, exponent, separator, space or leading zero.
func Parse(decimal, currency string) (Amount, error) {
	exponent, err := Exponent(currency)
	if err != nil {
		return Amount{}, err
	}
	whole, fraction, point := strings.Cut(decimal, ".")
	if !digits(whole) || point && !digits(fraction) {
		return Amount{}, fmt.Errorf("%.30q is not a decimal amount such as %q", decimal, Amount{1999, currency}.Decimal())
	}
	if len(whole) > 1 && whole[0] == '0' {
		return Amount{}, fmt.Errorf("%.30q has a leading zero", decimal)
	}
	if len(fraction) > exponent {
		return Amount{}, fmt.Errorf("%s has %d digits after the point at most, %.30q has %d", currency, exponent, decimal, len(fraction))
	}
	minor, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", exponent-len(fraction)), 10, 64)
	if err != nil || minor > Max {
		return Amount{}, fmt.Errorf("%.30q is above the largest amount, %s", decimal, Amount{Max, currency}.Decimal())
	}
	return Amount{minor, currency}, nil
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// Decimal writes the amount with all of its currency's digits, as Parse reads
// it. An unknown currency has two.
func (a Amount) Decimal() string {
	exponent, err := Exponent(a.Currency)
	if err != nil {
		exponent = 2
	}
	sign, minor := "", uint64(a.Minor)
	if a.Minor < 0 {
		sign, minor = "-", -minor
	}
	s := strconv.FormatUint(minor, 10)
	if exponent == 0 {
		return sign + s
	}
	if len(s) <= exponent {
		s = strings.Repeat("0", exponent+1-len(s)) + s
	}
	return sign + s[:len(s)-exponent] + "." + s[len(s)-exponent:]
}

// String is the decimal and the currency, for people.
func (a Amount) String() string { return a.Decimal() + " " + a.Currency }
