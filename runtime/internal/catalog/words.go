package catalog

import (
	"strings"
	"unicode"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"
)

const (
	// maxWords bounds the work of one search.
	maxWords = 10
	// keyLength is how many characters of a title products are sorted by; a
	// cursor has to hold them.
	keyLength = 48
)

// fold drops case and accents.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(strings.ToLower(s)))
}

// words are the folded words of a text, each of letters and digits alone, so
// that what PostgreSQL stores and what it looks for are cut alike.
func words(s string) []string {
	return strings.FieldsFunc(fold(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}

// tsquery writes words as PostgreSQL's to_tsquery reads them: all must occur,
// each in full or as the beginning of a word. It is empty where there is
// nothing to look for.
func tsquery(q string) string {
	list := words(q)
	for i, word := range list[:min(len(list), maxWords)] {
		list[i] = "'" + word + "':*"
	}
	return strings.Join(list[:min(len(list), maxWords)], " & ")
}

// titleKey is what products are sorted by.
func titleKey(title string) string {
	key := []rune(fold(title))
	return string(key[:min(len(key), keyLength)])
}

// slugOf writes a title as a slug: accents are dropped, what is neither letter
// nor digit of ASCII becomes a hyphen. A title with none of those gets a slug
// of the kind of thing and its id.
func slugOf(kind, title string, id uuid.UUID) string {
	list := strings.FieldsFunc(fold(title), isNotOfSlug)
	slug := strings.Join(list, "-")
	if len(slug) > maxSlug {
		slug = strings.TrimRight(slug[:maxSlug], "-")
	}
	if slug == "" || isID(slug) {
		return kind + "-" + id.String()[24:]
	}
	return slug
}

// isNotOfSlug reports whether a slug has a character only as a hyphen.
func isNotOfSlug(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }

// isID reports whether a path's idOrSlug is an id.
func isID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }
