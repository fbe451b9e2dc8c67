package pricing_test

import (
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/pricing"
)

func TestPercentsArePartsPerMillion(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{"0": 0, "19": 190_000, "7.25": 72_500, "7.2500": 72_500, "0.0001": 1, "100": 1_000_000, "100.0000": 1_000_000} {
		got, err := pricing.ParsePercent(s)
		if err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "01", "1e1", " 1", "1,5", "0.00001", "100.0001", "101", "1000", "99999999999999999999"} {
		if got, err := pricing.ParsePercent(s); err == nil {
			t.Errorf("%q is taken for %d", s, got)
		}
	}
	for ppm, want := range map[int64]string{0: "0", 1: "0.0001", 72_500: "7.25", 190_000: "19", 1_000_000: "100", 1_250_000: "125"} {
		expect(t, "format", pricing.FormatPercent(ppm), want)
	}
}

func FuzzAPercentThatIsReadIsWrittenTheSame(f *testing.F) {
	for _, s := range []string{"19", "7.25", "0.0001", "100", "00", "1.", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ppm, err := pricing.ParsePercent(s)
		if err != nil {
			return
		}
		if ppm < 0 || ppm > 1_000_000 {
			t.Fatalf("%q is %d", s, ppm)
		}
		if again, err := pricing.ParsePercent(pricing.FormatPercent(ppm)); err != nil || again != ppm {
			t.Fatalf("%q is %d, then %d %v", s, ppm, again, err)
		}
	})
}

func TestAVATIDHasTheFormOfItsMemberState(t *testing.T) {
	t.Parallel()
	for country, ids := range map[string][]string{
		"AT": {"ATU12345678", "atu 1234 5678"}, "BE": {"BE0123456789", "BE1123456789"}, "DE": {"DE123456789", "DE 123.456-789"},
		"ES": {"ESX1234567X", "ES12345678Z", "ESB12345678"}, "FR": {"FR40303265045", "FRXX999999999"}, "GR": {"EL123456789"},
		"IE": {"IE1234567FA", "IE1S23456L", "IE1234567WI"}, "NL": {"NL123456789B01"}, "RO": {"RO12", "RO1234567890"},
		"LT": {"LT123456789", "LT123456789012"}, "CY": {"CY12345678L"},
	} {
		for _, id := range ids {
			if !pricing.ValidVATID(country, id) {
				t.Errorf("%s is refused in %s", id, country)
			}
		}
	}
	for country, ids := range map[string][]string{
		"AT": {"AT12345678"}, "DE": {"123456789", "DE12345678", "DE1234567890", "FR40303265045"}, "GR": {"GR123456789"},
		"ES": {"ES123456789"}, "FR": {"FROO123456789"}, "GB": {"GB123456789"}, "US": {"US12"}, "": {""}, "NL": {"NL123456789C01"},
	} {
		for _, id := range ids {
			if pricing.ValidVATID(country, id) {
				t.Errorf("%s is taken in %s", id, country)
			}
		}
	}
}

func FuzzAVATIDBelongsToOneStateAtMost(f *testing.F) {
	f.Add("DE123456789")
	f.Add("EL 123456789")
	f.Add("ie1+23456x")
	states := []string{"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"}
	f.Fuzz(func(t *testing.T, id string) {
		n := 0
		for _, state := range states {
			if pricing.ValidVATID(state, id) {
				n++
			}
		}
		if n > 1 {
			t.Fatalf("%q belongs to %d states", id, n)
		}
	})
}
