package money_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, decimal, currency string
		want                    int64
		refused                 bool
	}{
		{name: "two digits after the point", decimal: "19.99", currency: "EUR", want: 1999},
		{name: "fewer digits than the currency has", decimal: "19.9", currency: "EUR", want: 1990},
		{name: "a whole number", decimal: "19", currency: "EUR", want: 1900},
		{name: "zero", decimal: "0", currency: "EUR", want: 0},
		{name: "a currency without minor units", decimal: "1999", currency: "JPY", want: 1999},
		{name: "a currency with three digits", decimal: "1.234", currency: "KWD", want: 1234},
		{name: "a currency with four digits", decimal: "1.2345", currency: "CLF", want: 12345},
		{name: "the largest amount", decimal: "10000000000000.00", currency: "EUR", want: money.Max},
		{name: "above the largest amount", decimal: "10000000000000.01", currency: "EUR", refused: true},
		{name: "more than an int64 holds", decimal: "99999999999999999999", currency: "EUR", refused: true},
		{name: "too many digits after the point", decimal: "19.999", currency: "EUR", refused: true},
		{name: "digits after the point of a currency without minor units", decimal: "19.0", currency: "JPY", refused: true},
		{name: "a negative amount", decimal: "-1", currency: "EUR", refused: true},
		{name: "a plus sign", decimal: "+1", currency: "EUR", refused: true},
		{name: "nothing", decimal: "", currency: "EUR", refused: true},
		{name: "a point alone", decimal: ".", currency: "EUR", refused: true},
		{name: "nothing before the point", decimal: ".5", currency: "EUR", refused: true},
		{name: "nothing after the point", decimal: "5.", currency: "EUR", refused: true},
		{name: "a leading zero", decimal: "01", currency: "EUR", refused: true},
		{name: "an exponent", decimal: "1e3", currency: "EUR", refused: true},
		{name: "a comma", decimal: "1,50", currency: "EUR", refused: true},
		{name: "digits of another script", decimal: "१", currency: "EUR", refused: true},
		{name: "a currency in lower case", decimal: "1", currency: "eur", refused: true},
		{name: "a currency that is none", decimal: "1", currency: "ABC", refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Parse(tt.decimal, tt.currency)
			if tt.refused {
				if err == nil {
					t.Fatalf("Parse(%q, %q) = %v, want an error", tt.decimal, tt.currency, got)
				}
				return
			}
			if err != nil || got.Minor != tt.want {
				t.Fatalf("Parse(%q, %q) = %d, %v, want %d", tt.decimal, tt.currency, got.Minor, err, tt.want)
			}
		})
	}
}

func TestEveryAmountSurvivesItsDecimal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := money.Amount{
			Minor:    rapid.Int64Range(0, money.Max).Draw(t, "minor"),
			Currency: rapid.SampledFrom([]string{"EUR", "JPY", "KWD", "CLF"}).Draw(t, "currency"),
		}
		got, err := money.Parse(a.Decimal(), a.Currency)
		if err != nil || got != a {
			t.Fatalf("Parse(%q) = %v, %v, want %v", a.Decimal(), got, err, a)
		}
	})
}

func TestDecimalWritesNegativeAmounts(t *testing.T) {
	t.Parallel()
	for minor, want := range map[int64]string{-5: "-0.05", -1999: "-19.99", math.MinInt64: "-92233720368547758.08"} {
		if got := (money.Amount{Minor: minor, Currency: "EUR"}).Decimal(); got != want {
			t.Errorf("Decimal of %d = %q, want %q", minor, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"19.99", "0", "-1", "1e9", ".", "00", "9223372036854775807"} {
		f.Add(s, "EUR")
	}
	f.Fuzz(func(t *testing.T, decimal, currency string) {
		a, err := money.Parse(decimal, currency)
		if err != nil {
			return
		}
		if a.Minor < 0 || a.Minor > money.Max {
			t.Fatalf("Parse(%q, %q) = %d, out of range", decimal, currency, a.Minor)
		}
		again, err := money.Parse(a.Decimal(), currency)
		if err != nil || again != a {
			t.Fatalf("Parse(%q, %q) = %v, whose decimal reads as %v, %v", decimal, currency, a, again, err)
		}
	})
}
