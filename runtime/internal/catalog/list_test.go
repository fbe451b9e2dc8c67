package catalog_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// pages reads a list to its end, limit at a time, and returns the titles.
func (s *store) pages(query string, limit int) []string {
	s.t.Helper()
	var all []string
	base := fmt.Sprintf("/products?limit=%d%s", limit, query)
	for path, n := base, 0; ; n++ {
		w := s.do("GET", path, "")
		if w.Code != http.StatusOK || n > 50 {
			s.t.Fatalf("page %d of %s: %d %s", n, query, w.Code, w.Body)
		}
		page := decode[openapi.ProductPage](s.t, w)
		for _, p := range page.Products {
			all = append(all, p.Title)
		}
		if page.NextCursor == nil {
			return all
		}
		if len(*page.NextCursor) > 500 {
			s.t.Fatalf("a cursor of %d characters", len(*page.NextCursor))
		}
		path = base + "&cursor=" + *page.NextCursor
	}
}

func TestAListIsReadPageByPageInEveryOrder(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	long := strings.Repeat("<", 60)
	prices := map[string]string{}
	for i, title := range []string{"Äpfel", "apfel", "Birne", "birne", long, long + " 2", "Birne", "Zwetschge"} {
		name := fmt.Sprintf("%d %s", i, title)
		prices[name] = fmt.Sprintf("%d.00", i/3)
		s.create(fmt.Sprintf(`"title":%q,"description":%q,"slug":"p-%d","variants":[%s]`, title, "fruit", i, variant(fmt.Sprintf("P-%d", i), prices[name])))
	}
	for query, want := range map[string]string{
		"":               "Zwetschge,Birne,<2,<,birne,Birne,apfel,Äpfel",
		"&sort=newest":   "Zwetschge,Birne,<2,<,birne,Birne,apfel,Äpfel",
		"&sort=oldest":   "Äpfel,apfel,Birne,birne,<,<2,Birne,Zwetschge",
		"&sort=title":    "<,<2,Äpfel,apfel,Birne,birne,Birne,Zwetschge",
		"&sort=-title":   "Zwetschge,Birne,birne,Birne,apfel,Äpfel,<2,<",
		"&sort=price":    "Äpfel,apfel,Birne,birne,<,<2,Birne,Zwetschge",
		"&sort=-price":   "Zwetschge,Birne,<2,<,birne,Birne,apfel,Äpfel",
		"&q=fruit":       "Zwetschge,Birne,<2,<,birne,Birne,apfel,Äpfel",
		"&q=birne":       "Birne,birne,Birne",
		"&type=simple":   "Zwetschge,Birne,<2,<,birne,Birne,apfel,Äpfel",
		"&minPrice=1":    "Zwetschge,Birne,<2,<,birne",
		"&maxPrice=0.99": "Birne,apfel,Äpfel",
	} {
		for _, limit := range []int{1, 3, 100} {
			got := strings.ReplaceAll(strings.ReplaceAll(strings.Join(s.pages(query, limit), ","), long+" 2", "<2"), long, "<")
			if got != want {
				t.Errorf("%s by %d: got %s, want %s", query, limit, got, want)
			}
		}
	}
	if got := s.pages("&sort=price&currency=USD", 3); got != nil {
		t.Errorf("with prices in USD: %v", got)
	}
	cursor := *decode[openapi.ProductPage](t, s.do("GET", "/products?limit=1", "")).NextCursor
	for query, pointer := range map[string]string{
		"limit=0": "limit", "limit=101": "limit", "cursor=x": "cursor", "q=fruit&cursor=" + cursor: "cursor", "sort=title&cursor=" + cursor: "cursor",
		"type=simple&cursor=" + cursor: "cursor", "q=": "q", "q=+": "q", "q=" + strings.Repeat("x", 201): "q", "q=mug%00": "q", "q=mug%ff": "q", "sort=best": "sort", "type=cloud": "type",
		"tag=": "tag", "tag=%00": "tag", "attribute=x": "attribute", "attribute=a:%00": "attribute", "attribute=a:%ff": "attribute", "category=": "category", "collection=%00": "collection",
		"currency=XXX": "currency", "minPrice=-1": "minPrice", "maxPrice=1.999": "maxPrice", "minPrice=0.5&currency=JPY": "minPrice",
		"include=all": "include", "include=tax": "country", "include=tax&country=de": "country", "country=DEU": "country",
	} {
		wantProblem(t, s.do("GET", "/products?"+query, ""), 400, "invalid_request", pointer)
	}
	for _, query := range []string{"limit=x", "inStock=maybe", "limit=1&limit=2"} {
		if w := s.do("GET", "/products?"+query, ""); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

func TestSearchFindsWordsByTheirBeginningTitlesFirst(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for i, p := range [][2]string{{"Cotton T-Shirt", "Soft."}, {"Sweater", "Not of cotton."}, {"Mug", "Holds tea."}, {"Übergröße", "Extra."}, {"Crème 1e5x", "see example.com/a"}} {
		s.create(fmt.Sprintf(`"title":%q,"description":%q,"tags":["Tag %d"],"variants":[%s]`, p[0], p[1], i, variant(fmt.Sprintf("SKU-%d/A.b", i), "1")))
	}
	for q, want := range map[string]string{
		"cotton": "Cotton T-Shirt, Sweater", "COTT": "Cotton T-Shirt, Sweater", "shirt+cot": "Cotton T-Shirt", "t-shirt": "Cotton T-Shirt",
		"tea": "Mug", "nothing": "", "%21%21": "", "%27%29%3A*%26%7C": "", "%C3%BCber": "Übergröße",
		"sku-2": "Mug", "SKU-2/A.b": "Mug", "tag+2": "Mug", "creme": "Crème 1e5x", "1e5x": "Crème 1e5x", "com": "Crème 1e5x", "ubergro%C3%9Fe": "Übergröße",
		"a+b+c+d+e+f+g+h+i+j+k+l": "", "%5C": "", "%27mug%27": "Mug",
	} {
		if got := titles(t, s.do("GET", "/products?q="+q, "")); got != want {
			t.Errorf("%s: got %q, want %q", q, got, want)
		}
	}
	if got := titles(t, s.do("GET", "/products?q=cotton&sort=oldest&maxPrice=1", "")); got != "Cotton T-Shirt, Sweater" {
		t.Errorf("sorted: %q", got)
	}
	if got := s.do("GET", "/products?q=%21&include=facets", "").Body.String(); got != `{"products":[],"facets":[]}` {
		t.Errorf("got %s", got)
	}
}

func TestFiltersNarrowTogether(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ids := map[string]uuid.UUID{}
	for _, c := range [][2]string{{"Clothing", ""}, {"Knitwear", "Clothing"}, {"Shirts", "Clothing"}, {"Jackets", "Clothing"}, {"Home", ""}, {"Kitchen", "Home"}, {"Groceries", ""}} {
		var parent *uuid.UUID
		if c[1] != "" {
			parent = new(ids[c[1]])
		}
		ids[c[0]] = s.category(c[0], parent).Id
	}
	clothing := ids["Clothing"].String()
	stored := map[string]uuid.UUID{}
	for i, p := range [][5]string{
		{"Merino Crew Sweater", "Knitwear", "variable", "89", "Wool"}, {"Organic Cotton T-Shirt", "Shirts", "variable", "24.90", "Cotton"},
		{"Rain Jacket", "Jackets", "variable", "149", "Nylon"}, {"Linen Shirt", "Shirts", "variable", "69", "Linen"},
		{"Enamel Mug", "Kitchen", "simple", "14.50", "Steel"}, {"Steel Bottle", "Kitchen", "simple", "32", "Steel"},
		{"Canvas Tote", "", "simple", "18", "Cotton"}, {"Leather Wallet", "", "simple", "54", "Leather"}, {"Beeswax Candle", "Home", "simple", "21", "Beeswax"},
		{"Walnut Cutting Board", "Kitchen", "simple", "79", "Walnut"}, {"Coffee Beans", "Groceries", "simple", "16.80", "Coffee"},
	} {
		fields := fmt.Sprintf(`"title":%q,"type":%q,"tags":["Sample"],"attributes":[{"name":"Material","value":%q}]`, p[0], p[2], p[4])
		one := fmt.Sprintf(`{"sku":"V-%d","prices":[{"amount":%q,"currency":"EUR"}]`, i, p[3])
		if p[2] == "variable" {
			fields, one = fields+`,"options":["Size"]`, one+`,"options":{"Size":"M"}`
		}
		if p[1] != "" {
			fields += fmt.Sprintf(`,"categoryIds":[%q]`, ids[p[1]])
		}
		stored[p[0]] = s.create(fields + `,"variants":[` + one + `}]`).Id
	}
	warm := must[openapi.Collection](s, 201, "POST", "/collections", fmt.Sprintf(`{"name":"Warm and dry","productIds":[%q,%q]}`, stored["Rain Jacket"], stored["Merino Crew Sweater"]))
	for query, want := range map[string]string{
		"category=clothing":                      "Linen Shirt, Rain Jacket, Organic Cotton T-Shirt, Merino Crew Sweater",
		"category=" + clothing:                   "Linen Shirt, Rain Jacket, Organic Cotton T-Shirt, Merino Crew Sweater",
		"category=shirts":                        "Linen Shirt, Organic Cotton T-Shirt",
		"category=nothing":                       "",
		"collection=warm-and-dry":                "Rain Jacket, Merino Crew Sweater",
		"collection=" + warm.Id.String():         "Rain Jacket, Merino Crew Sweater",
		"tag=SAMPLE&type=variable":               "Linen Shirt, Rain Jacket, Organic Cotton T-Shirt, Merino Crew Sweater",
		"attribute=Material:Cotton":              "Canvas Tote, Organic Cotton T-Shirt",
		"attribute=Material:Cotton&type=simple":  "Canvas Tote",
		"minPrice=54&maxPrice=80&sort=price":     "Leather Wallet, Linen Shirt, Walnut Cutting Board",
		"maxPrice=30&category=clothing":          "Organic Cotton T-Shirt",
		"q=steel&category=kitchen&maxPrice=20":   "",
		"q=shirt&category=clothing&sort=-price":  "Linen Shirt, Organic Cotton T-Shirt",
		"q=shirt&attribute=Material:Linen":       "Linen Shirt",
		"status=active&type=digital":             "",
		"sort=title&category=home&minPrice=21":   "Beeswax Candle, Steel Bottle, Walnut Cutting Board",
		"sort=-title&collection=warm-and-dry":    "Rain Jacket, Merino Crew Sweater",
		"sort=oldest&category=groceries&q=coffe": "Coffee Beans",
	} {
		if got := titles(t, s.do("GET", "/products?"+query, "")); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	facets := func(query string) map[string]string {
		out := map[string]string{}
		for _, f := range *decode[openapi.ProductPage](t, s.do("GET", "/products?limit=1&include=facets&"+query, "")).Facets {
			var values []string
			for _, v := range f.Values {
				values = append(values, fmt.Sprintf("%s %d", v.Value, v.Count))
			}
			out[f.Name] = strings.Join(values, ", ")
		}
		return out
	}
	got := facets("category=clothing")
	if len(got) != 4 || got["type"] != "variable 4" || got["tag"] != "sample 4" || got["category"] != "clothing 4, shirts 2, jackets 1, knitwear 1" ||
		got["attribute:Material"] != "Cotton 1, Linen 1, Nylon 1, Wool 1" {
		t.Errorf("facets %v", got)
	}
	if got := facets("q=steel&minPrice=20"); got["attribute:Material"] != "Steel 1" || got["type"] != "simple 1" || got["category"] != "home 1, kitchen 1" {
		t.Errorf("facets %v", got)
	}
}

// shelf is a stock of the test's own.
type shelf map[uuid.UUID]int64

func (s shelf) States(_ context.Context, variants []catalog.StockQuery) (map[uuid.UUID]catalog.StockState, error) {
	states := map[uuid.UUID]catalog.StockState{}
	for _, v := range variants {
		if n := s[v.VariantID]; v.Track && !v.Continue {
			states[v.VariantID] = catalog.StockState{Buyable: n > 0, Available: &n}
		} else {
			states[v.VariantID] = catalog.StockState{Buyable: true}
		}
	}
	return states, nil
}

type tax struct{}

func (tax) Note(_ context.Context, country string) (openapi.TaxNote, error) {
	return openapi.TaxNote{Country: country, PricesIncludeTax: true, Rates: map[string]string{"standard": "19"}}, nil
}

func TestStockIsShownWithProducts(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	stock := shelf{}
	s.catalog.Connect(catalog.Dependencies{Stock: stock, Tax: tax{}})
	mug, out := s.create(`"title":"Mug"`), s.create(`"title":"Out"`)
	book := s.create(`"title":"Book","type":"digital"`)
	item := func(p openapi.Product, n int) string {
		return fmt.Sprintf(`{"variantId":%q,"quantity":%d}`, p.Variants[0].Id, n)
	}
	s.create(`"title":"Six","type":"bundle","bundle":[` + item(mug, 6) + `,` + item(book, 1) + `]`)
	s.create(`"title":"Eight","type":"bundle","bundle":[` + item(mug, 8) + `]`)
	s.create(`"title":"Both","type":"bundle","bundle":[` + item(mug, 1) + `,` + item(out, 1) + `]`)
	stock[mug.Variants[0].Id] = 7
	state := func(p openapi.Product) string {
		st := (*p.Stock)[p.Variants[0].Id.String()]
		if st.Available == nil {
			return fmt.Sprintf("%s %t", p.Title, st.Buyable)
		}
		return fmt.Sprintf("%s %t %d", p.Title, st.Buyable, *st.Available)
	}
	var got []string
	page := decode[openapi.ProductPage](t, s.do("GET", "/products?include=stock&include=tax&country=DE", ""))
	for _, p := range page.Products {
		got = append(got, state(p))
	}
	if want := "Both false 0, Eight false 0, Six true 1, Book true, Out false 0, Mug true 7"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if page.Tax == nil || page.Tax.Country != "DE" || page.Tax.Rates["standard"] != "19" {
		t.Errorf("tax %+v", page.Tax)
	}
	if got := state(decode[openapi.Product](t, s.do("GET", "/products/mug?include=stock", ""))); got != "Mug true 7" {
		t.Errorf("got %s", got)
	}
	if got := titles(t, s.do("GET", "/products?inStock=true", "")); got != "Six, Book, Mug" {
		t.Errorf("in stock: %s", got)
	}
	for _, query := range []string{"include=tax&country=DE", "include=facets"} {
		wantProblem(t, s.do("GET", "/products/mug?"+query, ""), 400, "invalid_request", "include")
	}
}

func TestWhatIsInStockIsFoundAmongWhatIsNot(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	stock := shelf{}
	s.catalog.Connect(catalog.Dependencies{Stock: stock})
	var want []string
	for i := range 60 {
		p := s.create(fmt.Sprintf(`"title":"P %d"`, i))
		if i%13 == 0 {
			stock[p.Variants[0].Id] = 1
			want = append(want, p.Title)
		}
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 2, 3, 100} {
		if got := s.pages("&inStock=true", limit); !slices.Equal(got, want) {
			t.Errorf("by %d: got %v, want %v", limit, got, want)
		}
	}
	clear(stock)
	before := s.statements.Load()
	page := decode[openapi.ProductPage](t, s.do("GET", "/products?inStock=true&limit=1", ""))
	if n := s.statements.Load() - before; n != 10 || len(page.Products) != 0 {
		t.Errorf("%d statements for %+v", n, page)
	}
	if got := s.pages("&inStock=true", 1); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestAListCostsTheSameStatementsWhateverItsLength(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.catalog.Connect(catalog.Dependencies{Stock: shelf{}, Tax: tax{}})
	queries := map[string]int64{
		"": 1, "q=mug": 1, "sort=-price&maxPrice=100": 1, "category=cups&sort=title": 1, "include=stock": 2, "include=facets": 2,
		"include=stock&include=tax&include=facets&country=DE": 3, "q=mug&category=cups&include=stock&include=tax&include=facets&country=DE": 3,
	}
	cups := must[openapi.Category](s, 201, "POST", "/categories", `{"name":"Cups"}`)
	count := func(query string) int64 {
		before := s.statements.Load()
		if w := s.do("GET", "/products?limit=100&"+query, ""); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		return s.statements.Load() - before
	}
	for n := range 31 {
		s.create(fmt.Sprintf(`"title":"Mug %d","categoryIds":[%q]`, n, cups.Id))
		if n != 0 && n != 30 {
			continue
		}
		for query, want := range queries {
			if got := count(query); got != want {
				t.Errorf("%s of %d products: %d statements, want %d", url.QueryEscape(query), n+1, got, want)
			}
		}
	}
	if usual, odd := s.pages("", 20), s.pages("", 7); len(usual) != 31 || !slices.Equal(usual, odd) {
		t.Errorf("by 20: %v, by 7: %v", usual, odd)
	}
}
