package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Bounds, in characters and in items.
const (
	maxTitle       = 200
	maxSlug        = 100
	maxDescription = 20_000
	maxOptions     = 5
	maxOption      = 40
	maxVariants    = 100
)

var (
	slugPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	skuPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$`)
)

// newProduct makes a product of what a caller sent, or says in one
// *problem.Problem everything that is wrong with it.
func newProduct(in openapi.ProductInput) (openapi.Product, error) {
	var v findings
	p := openapi.Product{
		Id: uuid.Must(uuid.NewV7()), Title: strings.TrimSpace(in.Title), Type: in.Type,
		Description: orZero(in.Description), Slug: orZero(in.Slug), Status: openapi.Draft, Options: []string{},
	}
	if in.Status != nil {
		p.Status = *in.Status
	}
	if in.Options != nil {
		p.Options = append(p.Options, *in.Options...)
	}
	v.text("/title", p.Title, 1, maxTitle)
	v.text("/description", p.Description, 0, maxDescription)
	v.require(p.Status.Valid(), "/status", "must be draft, active or archived")
	v.require(p.Type.Valid(), "/type", "must be simple or variable")
	if in.Slug == nil {
		p.Slug = slugOf(p.Title, p.Id)
	}
	v.require(len(p.Slug) <= maxSlug && slugPattern.MatchString(p.Slug), "/slug",
		"must be words of a-z and 0-9 joined by single hyphens, %d characters at most", maxSlug)
	v.options(p)
	p.Variants = v.variants(in.Variants, p)
	if len(v) > 0 {
		return openapi.Product{}, problem.Invalid(v...)
	}
	return p, nil
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// slugOf writes a title as a slug: accents are dropped, what is neither letter
// nor digit of ASCII becomes a hyphen. A title with none of those gets a slug
// of its id.
func slugOf(title string, id uuid.UUID) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(title)) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b.WriteRune(r)
		case !unicode.Is(unicode.Mn, r):
			b.WriteByte(' ')
		}
	}
	slug := strings.Join(strings.Fields(b.String()), "-")
	if len(slug) > maxSlug {
		slug = strings.TrimRight(slug[:maxSlug], "-")
	}
	if slug == "" {
		return "product-" + id.String()[24:]
	}
	return slug
}

// findings are what is wrong with an input.
type findings []problem.Field

func (v *findings) require(ok bool, pointer, format string, args ...any) {
	if !ok {
		*v = append(*v, problem.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
}

// text wants words that can be stored and shown.
func (v *findings) text(pointer, s string, least, most int) {
	n := utf8.RuneCountInString(s)
	v.require(n >= least && n <= most, pointer, "must have %d to %d characters, has %d", least, most, n)
	control := strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' })
	v.require(!control, pointer, "must not hold control characters")
}

func (v *findings) options(p openapi.Product) {
	switch p.Type {
	case openapi.Simple:
		v.require(len(p.Options) == 0, "/options", "a simple product has no options")
	case openapi.Variable:
		v.require(len(p.Options) >= 1 && len(p.Options) <= maxOptions, "/options", "a variable product has 1 to %d options", maxOptions)
	}
	for i, name := range p.Options {
		pointer := fmt.Sprintf("/options/%d", i)
		v.text(pointer, name, 1, maxOption)
		v.require(!slices.Contains(p.Options[:i], name), pointer, "is there twice")
	}
}

func (v *findings) variants(in []openapi.VariantInput, p openapi.Product) []openapi.Variant {
	v.require(len(in) >= 1 && len(in) <= maxVariants, "/variants", "a product has 1 to %d variants", maxVariants)
	v.require(p.Type != openapi.Simple || len(in) <= 1, "/variants", "a simple product has one variant")
	if len(in) > maxVariants {
		return nil
	}
	var out []openapi.Variant
	skus, choices := map[string]bool{}, map[string]bool{}
	for i, variant := range in {
		at := fmt.Sprintf("/variants/%d", i)
		v.require(skuPattern.MatchString(variant.Sku), at+"/sku",
			"must be 1 to 64 of A-Z, a-z, 0-9 and . _ / -, the first a letter or digit")
		v.require(!skus[variant.Sku], at+"/sku", "is there twice")
		skus[variant.Sku] = true

		price, err := money.Parse(variant.Price.Amount, variant.Price.Currency)
		v.require(err == nil, at+"/price", "%v", err)
		v.require(variant.Price.Currency == in[0].Price.Currency, at+"/price/currency", "must be that of the first variant")

		choice := v.choice(at, p.Options, orZero(variant.Options))
		v.require(!choices[choice], at+"/options", "another variant has the same options")
		choices[choice] = true

		options := orZero(variant.Options)
		if options == nil {
			options = map[string]string{}
		}
		out = append(out, openapi.Variant{
			Id: uuid.Must(uuid.NewV7()), Sku: variant.Sku, Options: options,
			Price: openapi.Money{Amount: price.Decimal(), Currency: price.Currency},
		})
	}
	return out
}

// choice checks that a variant has a value for each option and no other, and
// returns the values as one word.
func (v *findings) choice(at string, names []string, options map[string]string) string {
	choice := ""
	for _, name := range names {
		value, ok := options[name]
		v.require(ok, at+"/options", "has no value for %q", name)
		if ok {
			v.text(at+"/options/"+name, value, 1, maxOption)
		}
		choice += fmt.Sprintf("%q ", value)
	}
	for name := range options {
		v.require(slices.Contains(names, name), at+"/options", "%q is not one of the product's options", name)
	}
	return choice
}
