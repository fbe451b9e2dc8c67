package money

import (
	"fmt"
	"strings"
)

// Exponent is the number of digits after the point in a currency's amounts,
// by ISO 4217.
func Exponent(currency string) (int, error) {
	exponent, ok := exponents[currency]
	if !ok {
		return 0, fmt.Errorf("%.10q is not a currency code of ISO 4217, such as EUR", currency)
	}
	return exponent, nil
}

// The active codes of ISO 4217 list one that money can be held in (no metals,
// funds or test codes), by the digits after the point.
var exponents = byExponent(map[int]string{
	0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
	2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP " +
		"CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS " +
		"INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN " +
		"MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE " +
		"SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR " +
		"ZMW ZWG",
	3: "BHD IQD JOD KWD LYD OMR TND",
	4: "CLF UYW",
})

func byExponent(codes map[int]string) map[string]int {
	all := map[string]int{}
	for exponent, list := range codes {
		for code := range strings.FieldsSeq(list) {
			all[code] = exponent
		}
	}
	return all
}
