package pricing

import (
	"regexp"
	"strings"
)

// vatForms are the member states of the EU and the forms of their VAT ids, by
// the table of the European Commission's VIES.
var vatForms = compileForms(map[string]string{
	"AT": `ATU\d{8}`, "BE": `BE[01]\d{9}`, "BG": `BG\d{9,10}`, "CY": `CY\d{8}[A-Z]`, "CZ": `CZ\d{8,10}`, "DE": `DE\d{9}`,
	"DK": `DK\d{8}`, "EE": `EE\d{9}`, "ES": `ES([A-Z]\d{7}[A-Z0-9]|\d{8}[A-Z])`, "FI": `FI\d{8}`,
	"FR": `FR[A-HJ-NP-Z0-9]{2}\d{9}`, "GR": `EL\d{9}`, "HR": `HR\d{11}`, "HU": `HU\d{8}`,
	"IE": `IE(\d[A-Z0-9+*]\d{5}[A-Z]|\d{7}[A-W][A-I])`, "IT": `IT\d{11}`, "LT": `LT(\d{9}|\d{12})`, "LU": `LU\d{8}`,
	"LV": `LV\d{11}`, "MT": `MT\d{8}`, "NL": `NL\d{9}B\d{2}`, "PL": `PL\d{10}`, "PT": `PT\d{9}`, "RO": `RO\d{2,10}`,
	"SE": `SE\d{12}`, "SI": `SI\d{8}`, "SK": `SK\d{10}`,
})

var vatSeparators = strings.NewReplacer(" ", "", ".", "", "-", "")

func compileForms(forms map[string]string) map[string]*regexp.Regexp {
	compiled := make(map[string]*regexp.Regexp, len(forms))
	for country, form := range forms {
		compiled[country] = regexp.MustCompile(`^(?:` + form + `)$`)
	}
	return compiled
}

// InEU reports whether a country, by its ISO 3166-1 code, is a member state of
// the European Union.
func InEU(country string) bool { return vatForms[country] != nil }

// ValidVATID reports whether an id has the form of the member state's, with
// its prefix (EL in Greece, whose code is GR). Case, spaces, points and hyphens
// do not matter. Whether the id is registered, only VIES knows.
func ValidVATID(country, id string) bool {
	form := vatForms[country]
	return form != nil && len(id) <= 40 && form.MatchString(strings.ToUpper(vatSeparators.Replace(id)))
}
