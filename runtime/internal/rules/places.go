package rules

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/text/language"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rules/rulesdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Bounds of zones, rates and methods.
const (
	maxAreas    = 400
	maxCategory = 40
	maxPrices   = 100
)

var (
	countryPattern  = regexp.MustCompile(`^[A-Z]{2}$`)
	regionPattern   = regexp.MustCompile(`^[A-Z0-9]{1,3}$`)
	categoryPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// isCountry reports whether code is one of ISO 3166-1 that is in use, in upper
// case: GB and not UK.
func isCountry(code string) bool {
	if !countryPattern.MatchString(code) {
		return false
	}
	region, err := language.ParseRegion(code)
	return err == nil && region.IsCountry() && region.Canonicalize().String() == code
}

func isArea(area string) bool {
	country, region, inner := strings.Cut(area, "-")
	return area == "*" || isCountry(country) && (!inner || regionPattern.MatchString(region))
}

func noZone(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "zone_not_found", "No zone has the id %s.", id)
}

func noTaxRate(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "tax_rate_not_found", "No tax rate has the id %s.", id)
}

func noShippingMethod(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "shipping_method_not_found", "No shipping method has the id %s.", id)
}

// ofZone reports whether err says that a row and the zone which it names do not
// go together.
func ofZone(err error) bool {
	return db.Violates(err, "tax_rates_zone") || db.Violates(err, "shipping_methods_zone")
}

// stored says what came of a statement that stores a row.
func stored(rows int64, err, missing error, what string) error {
	if ofZone(err) {
		return problem.Invalid(problem.Field{Pointer: "/zoneId", Detail: "is no zone's id"})
	}
	if err != nil {
		return fmt.Errorf("storing a %s: %w", what, err)
	}
	return met(rows, nil, missing)
}

func (b *Book) zones(ctx context.Context) ([]openapi.Zone, error) {
	rows, err := rulesdb.New(b.pool).Zones(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing zones: %w", err)
	}
	zones := make([]openapi.Zone, len(rows))
	for i, r := range rows {
		zones[i] = openapi.Zone{Id: r.ID, Name: r.Name, Areas: r.Areas}
	}
	return zones, nil
}

// saveZone is a saver.
func saveZone(ctx context.Context, tx pgx.Tx, id uuid.UUID, in openapi.ZoneInput, replace bool) (openapi.Zone, error) {
	var f problem.Findings
	zone := openapi.Zone{Id: id, Name: strings.TrimSpace(in.Name), Areas: in.Areas}
	f.Text("/name", zone.Name, 1, maxName)
	f.Require(len(in.Areas) >= 1 && len(in.Areas) <= maxAreas, "/areas", "must have 1 to %d items", maxAreas)
	for i, area := range in.Areas[:min(len(in.Areas), maxAreas)] {
		pointer := fmt.Sprintf("/areas/%d", i)
		f.Require(isArea(area), pointer, "must be a country such as DE, a region such as US-CA, or *")
		f.Require(!slices.Contains(in.Areas[:i], area), pointer, "is there twice")
	}
	if err := f.Err(); err != nil {
		return zone, err
	}
	q := rulesdb.New(tx)
	if replace {
		rows, err := q.ReplaceZone(ctx, rulesdb.ReplaceZoneParams{ID: id, Name: zone.Name, Areas: zone.Areas})
		return zone, stored(rows, err, noZone(id), "zone")
	}
	return zone, stored(1, q.InsertZone(ctx, rulesdb.InsertZoneParams{ID: id, Name: zone.Name, Areas: zone.Areas}), nil, "zone")
}

func deleteZone(ctx context.Context, q *rulesdb.Queries, id uuid.UUID) (int64, error) {
	rows, err := q.DeleteZone(ctx, id)
	if ofZone(err) {
		return 0, problem.New(http.StatusConflict, "zone_in_use", "Tax rates or shipping methods are for this zone; delete them first.")
	}
	return rows, err
}

func (b *Book) taxRates(ctx context.Context) ([]openapi.TaxRate, error) {
	rows, err := rulesdb.New(b.pool).TaxRates(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing tax rates: %w", err)
	}
	rates := make([]openapi.TaxRate, len(rows))
	for i, r := range rows {
		rates[i] = openapi.TaxRate{Id: r.ID, Name: r.Name, ZoneId: r.ZoneID, Category: r.Category, Percent: pricing.FormatPercent(r.Ppm)}
	}
	return rates, nil
}

// saveTaxRate is a saver.
func saveTaxRate(ctx context.Context, tx pgx.Tx, id uuid.UUID, in openapi.TaxRateInput, replace bool) (openapi.TaxRate, error) {
	var f problem.Findings
	rate := openapi.TaxRate{Id: id, Name: strings.TrimSpace(in.Name), ZoneId: in.ZoneId, Category: pricing.Standard}
	if in.Category != nil {
		rate.Category = *in.Category
	}
	f.Text("/name", rate.Name, 1, maxName)
	f.Require(len(rate.Category) <= maxCategory && categoryPattern.MatchString(rate.Category), "/category",
		"must be words of a-z and 0-9 joined by single hyphens, %d characters at most", maxCategory)
	ppm, err := pricing.ParsePercent(in.Percent)
	f.Require(err == nil, "/percent", "%v", err)
	if err := f.Err(); err != nil {
		return rate, err
	}
	rate.Percent = pricing.FormatPercent(ppm)
	q := rulesdb.New(tx)
	row := rulesdb.InsertTaxRateParams{ID: id, Name: rate.Name, ZoneID: rate.ZoneId, Category: rate.Category, Ppm: ppm}
	if replace {
		rows, err := q.ReplaceTaxRate(ctx, rulesdb.ReplaceTaxRateParams{
			ID: id, Name: row.Name, ZoneID: row.ZoneID, Category: row.Category, Ppm: ppm,
		})
		return rate, stored(rows, err, noTaxRate(id), "tax rate")
	}
	return rate, stored(1, q.InsertTaxRate(ctx, row), nil, "tax rate")
}

func deleteTaxRate(ctx context.Context, q *rulesdb.Queries, id uuid.UUID) (int64, error) {
	return q.DeleteTaxRate(ctx, id)
}

func (b *Book) shippingMethods(ctx context.Context) ([]openapi.ShippingMethod, error) {
	rows, err := rulesdb.New(b.pool).ShippingMethods(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing shipping methods: %w", err)
	}
	methods := make([]openapi.ShippingMethod, len(rows))
	for i, r := range rows {
		var prices []pricing.ShippingPrice
		if err := json.Unmarshal(r.Prices, &prices); err != nil {
			return nil, fmt.Errorf("prices of shipping method %s: %w", r.ID, err)
		}
		methods[i] = openapi.ShippingMethod{Id: r.ID, Name: r.Name, ZoneId: r.ZoneID, Active: r.Active, Prices: shownPrices(prices)}
	}
	return methods, nil
}

func shownPrices(prices []pricing.ShippingPrice) []openapi.ShippingPrice {
	out := make([]openapi.ShippingPrice, len(prices))
	for i, p := range prices {
		decimal := func(minor *int64) *string {
			if minor == nil {
				return nil
			}
			s := money.Amount{Minor: *minor, Currency: p.Currency}.Decimal()
			return &s
		}
		out[i] = openapi.ShippingPrice{
			Price:          openapi.Money{Amount: *decimal(&p.Price), Currency: p.Currency},
			MaxWeightGrams: p.MaxWeightGrams, MaxSubtotal: decimal(p.MaxSubtotal), FreeFrom: decimal(p.FreeFrom),
		}
	}
	return out
}

// saveShippingMethod is a saver.
func saveShippingMethod(ctx context.Context, tx pgx.Tx, id uuid.UUID, in openapi.ShippingMethodInput, replace bool) (openapi.ShippingMethod, error) {
	var f problem.Findings
	method := openapi.ShippingMethod{Id: id, Name: strings.TrimSpace(in.Name), ZoneId: in.ZoneId, Active: in.Active == nil || *in.Active}
	f.Text("/name", method.Name, 1, maxName)
	prices := newPrices(&f, in.Prices)
	if err := f.Err(); err != nil {
		return method, err
	}
	method.Prices = shownPrices(prices)
	encoded, err := json.Marshal(prices)
	if err != nil {
		return method, err
	}
	q := rulesdb.New(tx)
	if replace {
		rows, err := q.ReplaceShippingMethod(ctx, rulesdb.ReplaceShippingMethodParams{
			ID: id, Name: method.Name, ZoneID: method.ZoneId, Prices: encoded, Active: method.Active,
		})
		return method, stored(rows, err, noShippingMethod(id), "shipping method")
	}
	return method, stored(1, q.InsertShippingMethod(ctx, rulesdb.InsertShippingMethodParams{
		ID: id, Name: method.Name, ZoneID: method.ZoneId, Prices: encoded, Active: method.Active,
	}), nil, "shipping method")
}

func deleteShippingMethod(ctx context.Context, q *rulesdb.Queries, id uuid.UUID) (int64, error) {
	return q.DeleteShippingMethod(ctx, id)
}

func newPrices(f *problem.Findings, in []openapi.ShippingPrice) []pricing.ShippingPrice {
	f.Require(len(in) >= 1 && len(in) <= maxPrices, "/prices", "must have 1 to %d items", maxPrices)
	if len(in) > maxPrices {
		return nil
	}
	prices := make([]pricing.ShippingPrice, len(in))
	for i, p := range in {
		at := fmt.Sprintf("/prices/%d", i)
		amount := func(pointer string, decimal *string) *int64 {
			if _, err := money.Exponent(p.Price.Currency); decimal == nil || err != nil {
				return nil
			}
			minor := f.Amount(at+pointer, *decimal, p.Price.Currency)
			return &minor
		}
		if p.MaxWeightGrams != nil {
			f.Range(at+"/maxWeightGrams", *p.MaxWeightGrams, 0, pricing.MaxWeightGrams)
		}
		prices[i] = pricing.ShippingPrice{
			Currency: p.Price.Currency, Price: f.Money(at+"/price", p.Price.Amount, p.Price.Currency), MaxWeightGrams: p.MaxWeightGrams,
			MaxSubtotal: amount("/maxSubtotal", p.MaxSubtotal), FreeFrom: amount("/freeFrom", p.FreeFrom),
		}
	}
	return prices
}

func (b *Book) settings(ctx context.Context) (openapi.Settings, error) {
	row, err := rulesdb.New(b.pool).Settings(ctx)
	if err != nil {
		return openapi.Settings{}, fmt.Errorf("reading the settings: %w", err)
	}
	return shownSettings(rulesdb.ReplaceSettingsParams(row)), nil
}

func shownSettings(row rulesdb.ReplaceSettingsParams) openapi.Settings {
	return openapi.Settings{
		Currency: row.Currency, PricesIncludeTax: row.PricesIncludeTax, Country: optional.Of(row.Country), ReverseCharge: &row.ReverseCharge,
		LowStockThreshold: &row.LowStockThreshold,
	}
}

// LowStockThreshold is how many of a variant are available at most where it is
// low; 0 where nobody is to be told.
func (b *Book) LowStockThreshold(ctx context.Context) (int64, error) {
	settings, err := b.settings(ctx)
	return optional.Value(settings.LowStockThreshold), err
}

const (
	// usualLowStock is the threshold of settings that name none.
	usualLowStock = 5
	maxLowStock   = 1_000_000
)

// saveSettings is a saver; there is one row, without an id.
func saveSettings(ctx context.Context, tx pgx.Tx, _ uuid.UUID, in openapi.Settings, _ bool) (openapi.Settings, error) {
	var f problem.Findings
	row := rulesdb.ReplaceSettingsParams{
		Currency: in.Currency, PricesIncludeTax: in.PricesIncludeTax, Country: optional.Value(in.Country), ReverseCharge: optional.Value(in.ReverseCharge),
		LowStockThreshold: usualLowStock,
	}
	if in.LowStockThreshold != nil {
		row.LowStockThreshold = *in.LowStockThreshold
	}
	_, err := money.Exponent(in.Currency)
	f.Require(err == nil, "/currency", "%v", err)
	f.Require(in.Country == nil || isCountry(row.Country), "/country", "must be a country's code of ISO 3166-1, such as DE")
	f.Require(!row.ReverseCharge || pricing.InEU(row.Country), "/reverseCharge", "needs a country that is a member state of the EU")
	f.Range("/lowStockThreshold", row.LowStockThreshold, 0, maxLowStock)
	if err := f.Err(); err != nil {
		return openapi.Settings{}, err
	}
	if err := rulesdb.New(tx).ReplaceSettings(ctx, row); err != nil {
		return openapi.Settings{}, fmt.Errorf("storing the settings: %w", err)
	}
	return shownSettings(row), nil
}

// Note is what a list of prices says about tax in a country: the summed rates
// of each category that is taxed there. A code that is no country's is a
// *problem.Problem with status 400.
func (b *Book) Note(ctx context.Context, country string) (openapi.TaxNote, error) {
	if !isCountry(country) {
		return openapi.TaxNote{}, problem.Invalid(problem.Field{Pointer: "country", Detail: "must be a country's code of ISO 3166-1, such as DE"})
	}
	present, err := b.read(ctx) // not the copy: what is kept must not be older than what invalidates it
	if err != nil {
		return openapi.TaxNote{}, fmt.Errorf("reading the store's rules: %w", err)
	}
	rules := present.rules
	note := openapi.TaxNote{Country: country, PricesIncludeTax: rules.Settings.PricesIncludeTax, Rates: map[string]string{}}
	for category, ppm := range rules.PPMByCategory(country) {
		note.Rates[category] = pricing.FormatPercent(ppm)
	}
	return note, nil
}
