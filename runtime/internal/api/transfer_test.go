package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/internal/sample"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func (s *store) begin(kind, format string, dry bool) openapi.Import {
	s.t.Helper()
	return admin[openapi.Import](s, "POST", "/imports", openapi.ImportInput{
		Kind: openapi.TransferKind(kind), Format: openapi.TransferFormat(format), DryRun: &dry,
	}, http.StatusCreated)
}

// part sends what an import lacks of a file, up to so many bytes.
func (s *store) part(i openapi.Import, file string, most int) (openapi.Import, int) {
	s.t.Helper()
	end := min(len(file), int(i.Offset)+most)
	w := s.asAdmin("PATCH", "/imports/"+i.Id.String(), file[i.Offset:end], "Content-Type", "application/octet-stream",
		"Upload-Offset", strconv.FormatInt(i.Offset, 10), "Upload-Complete", strconv.FormatBool(end == len(file)))
	var out openapi.Import
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		s.t.Fatalf("answered %s: %v", w.Body, err)
	}
	return out, w.Code
}

// bring sends a whole file, in parts of random sizes.
func (s *store) bring(kind, format, file string) openapi.Import {
	s.t.Helper()
	i := s.begin(kind, format, false)
	for size := 1; i.State == openapi.ImportStateOpen; size = 1 + rand.IntN(2*len(file)) {
		before := i.Offset
		var code int
		if i, code = s.part(i, file, min(max(size, 2000), 1<<20)); code != http.StatusOK {
			s.t.Fatalf("at byte %d: %d", before, code)
		}
	}
	if i.Offset != int64(len(file)) {
		s.t.Errorf("ended at byte %d of %d", i.Offset, len(file))
	}
	return i
}

func (s *store) counts(i openapi.Import, created, updated, unchanged, refused int64) {
	s.t.Helper()
	if i.Created != created || i.Updated != updated || i.Unchanged != unchanged || i.Refused != refused {
		s.t.Errorf("%d are new, %d changed, %d as they were, %d refused; want %d, %d, %d, %d: %+v",
			i.Created, i.Updated, i.Unchanged, i.Refused, created, updated, unchanged, refused, s.refusals(i))
	}
}

func (s *store) refusals(i openapi.Import) []openapi.ImportRefusal {
	s.t.Helper()
	s.t.Helper()
	var all []openapi.ImportRefusal
	for path := "/imports/" + i.Id.String() + "/refusals?limit=2"; ; {
		page := admin[openapi.ImportRefusalList](s, "GET", path, nil, http.StatusOK)
		if all = append(all, page.Refusals...); page.NextCursor == nil {
			return all
		}
		path = "/imports/" + i.Id.String() + "/refusals?limit=2&cursor=" + *page.NextCursor
	}
}

// out is a whole export.
func (s *store) out(kind, format string) string {
	s.t.Helper()
	all := ""
	for path := "/exports/" + kind + "?format=" + format; path != ""; {
		w := s.asAdmin("GET", path, "")
		if w.Code != http.StatusOK {
			s.t.Fatalf("answered %d: %s", w.Code, w.Body)
		}
		all += w.Body.String()
		path, _, _ = strings.Cut(strings.TrimPrefix(w.Header().Get("Link"), "</api/v1"), ">")
	}
	return all
}

const shirts = "\xef\xbb\xbfslug,title,type,status,tags,attributes,images,option1Name,sku,option1Value,price EUR,price JPY,cost EUR,weightGrams\r\n" +
	"shirt,\"Shirt, \"\"soft\"\"\",variable,active,\"summer\nsale\",Material: cotton,https://img.example/a.png a shirt,Size,SHIRT-S,S,10.00,1500,4.00,200\r\n" +
	"shirt,,,,,,,,SHIRT-M,M,11.00,1600,,210\r\n" +
	"mug,\"'=HYPERLINK(\"\"x\"\")\",simple,,,,,,MUG,,5.00,,,\r\n"

func TestProductsComeInAndGoOutAsTheyAre(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.counts(s.bring("products", "csv", shirts), 2, 0, 0, 0)
	mug := admin[openapi.Product](s, "GET", "/products/mug", nil, http.StatusOK)
	if mug.Title != `=HYPERLINK("x")` || mug.Status != openapi.ProductStatusDraft {
		t.Errorf("the mug is %+v", mug)
	}
	shirt := admin[openapi.Product](s, "GET", "/products/shirt", nil, http.StatusOK)
	if len(shirt.Variants) != 2 || shirt.Variants[1].Prices[1].Amount != "1600" || shirt.Variants[0].Options["Size"] != "S" || len(shirt.Tags) != 2 || shirt.Attributes[0].Value != "cotton" {
		t.Errorf("the shirt is %+v", shirt)
	}
	s.counts(s.bring("products", "csv", shirts), 0, 0, 2, 0)
	sheet, lines := s.out("products", "csv"), s.out("products", "jsonl")
	if !strings.Contains(sheet, `"'=HYPERLINK(""x"")"`) {
		t.Errorf("a spreadsheet takes a title for a formula: %s", sheet)
	}
	for format, file := range map[string]string{"csv": sheet, "jsonl": lines} {
		s.counts(s.bring("products", format, file), 0, 0, 2, 0)
		s.counts(newStore(t).bring("products", format, file), 2, 0, 0, 0)
		s.counts(s.bring("products", format, strings.ReplaceAll(file, "4.00", "3.00")), 0, 1, 1, 0) // a cost
		s.counts(s.bring("products", format, file), 0, 1, 1, 0)
	}
	if now := admin[openapi.Product](s, "GET", "/products/shirt", nil, http.StatusOK); now.Variants[0].Id != shirt.Variants[0].Id || now.Version != 5 {
		t.Errorf("the shirt became %+v", now)
	}
}

func TestOfARecordWithManyErrorsSomeAreKept(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tags := strings.Repeat(`"same",`, 40) + `"same"`
	i := s.bring("products", "jsonl", `{"title":"Mug","type":"simple","tags":[`+tags+`],"variants":[{"sku":"MUG","prices":[{"amount":"1.00","currency":"EUR"}]}]}`)
	s.counts(i, 0, 0, 0, 1)
	if r := s.refusals(i)[0]; len(r.Errors) != 20 || r.Errors[19].Pointer != "/tags/20" {
		t.Errorf("%d are kept, the last is %+v", len(r.Errors), r.Errors[len(r.Errors)-1])
	}
}

func TestAnImportSaysWhichRowsItRefusesAndWhy(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.counts(s.bring("products", "csv", shirts), 2, 0, 0, 0)
	file := "slug,title,type,sku,price EUR\n" +
		"one,One,simple,ONE,1.00\n" +
		"two,,simple,TWO,1.00\n" + // no title
		"three,Three,simple,MUG,1.00\n" + // the mug's SKU
		"four,Four,simple,ONE,1.00\n" + // that of the first
		"five,Five,simple,FIVE,1.001\n" + // not an amount
		"six,\"Six\"x,simple,SIX,1.00\n" + // not CSV
		"seven,Seven,simple,SEVEN,1.00\n" +
		"eight,Eight,bundle,EIGHT,1.00\n" // made of nothing
	i := s.bring("products", "csv", file)
	s.counts(i, 2, 0, 0, 6)
	want := map[int64]string{3: "invalid_request", 4: "sku_taken", 5: "invalid_request", 6: "invalid_request", 7: "invalid_request", 9: "invalid_request"}
	for _, r := range s.refusals(i) {
		if want[r.Row] != r.Code || r.Code == "invalid_request" && len(r.Errors) == 0 {
			t.Errorf("row %d is refused by %+v", r.Row, r)
		}
		delete(want, r.Row)
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v", want)
	}
	lines := `{"title":"A","type":"simple","variants":[{"sku":"A","prices":[{"amount":"1.00","currency":"EUR"}]}]}` + "\n\n" + `{"titel":"B"}` + "\nnonsense\n"
	i = s.bring("products", "jsonl", lines)
	s.counts(i, 1, 0, 0, 2)
	if all := s.refusals(i); all[0].Row != 3 || all[1].Row != 4 {
		t.Errorf("refused are %+v", all)
	}
	for what, bad := range map[string]string{
		"a column that means nothing": "slug,title,type,sku,colour\n", "a column that is missing": "slug,title,type\n", "a column twice": "slug,slug,title,type,sku\n",
	} {
		if _, code := s.part(s.begin("products", "csv", false), bad, 1000); code != http.StatusBadRequest {
			t.Errorf("%s is answered %d", what, code)
		}
	}
	if _, code := s.part(s.begin("products", "csv", false), "slug,title,type,sku\na,\""+strings.Repeat("x", 1<<20), 1<<20); code != http.StatusOK {
		t.Errorf("a quote that is never closed is answered %d at first", code)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	i, code := s.part(s.begin("products", "csv", true), shirts, len(shirts))
	if code != http.StatusOK || i.State != openapi.ImportStateDone {
		t.Fatalf("answered %d: %+v", code, i)
	}
	s.counts(i, 2, 0, 0, 0)
	if w := s.asAdmin("GET", "/products/shirt", ""); w.Code != http.StatusNotFound {
		t.Errorf("the shirt is there: %d", w.Code)
	}
}

func TestAPartIsTakenOnceAndWhereTheImportIs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var file strings.Builder
	file.WriteString("slug,title,type,sku,price EUR\n")
	const n = 450
	for i := range n {
		fmt.Fprintf(&file, "p-%d,P %d,simple,P-%d,1.00\n", i, i, i)
	}
	i := s.begin("products", "csv", false)
	half := file.Len() / 2
	var sending sync.WaitGroup
	codes := make([]int, 4)
	for c := range codes {
		sending.Go(func() { _, codes[c] = s.part(i, file.String(), half) })
	}
	sending.Wait()
	taken := 0
	for _, code := range codes {
		switch code {
		case http.StatusOK:
			taken++
		case http.StatusConflict:
		default:
			t.Errorf("answered %d", code)
		}
	}
	i = admin[openapi.Import](s, "GET", "/imports/"+i.Id.String(), nil, http.StatusOK)
	if i.Created < 200 || i.Created > n*2/3 || taken > 1 {
		t.Errorf("after half of the file %+v; %d callers were told that their part was taken", i, taken)
	}
	if _, code := s.part(openapi.Import{Id: i.Id, Offset: i.Offset - 5}, file.String(), 1000); code != http.StatusConflict {
		t.Errorf("a part that overlaps is answered %d", code)
	}
	i, code := s.part(i, file.String(), file.Len())
	if code != http.StatusOK || i.State != openapi.ImportStateDone || i.Rows != n+1 {
		t.Errorf("ended with %+v", i)
	}
	s.counts(i, n, 0, 0, 0)
	if _, code := s.part(i, file.String(), 10); code != http.StatusConflict {
		t.Errorf("after its end it answers %d", code)
	}
}

func shopifyFile(t *testing.T) string {
	t.Helper()
	file, err := os.ReadFile("testdata/shopify.csv")
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

func TestAShopifyFileIsReadAsItIs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	i := s.bring("products", "shopify", shopifyFile(t))
	s.counts(i, 3, 0, 0, 1)
	if r := s.refusals(i)[0]; r.Row != 6 || len(r.Errors) != 1 || r.Errors[0].Pointer != "Gift Card" {
		t.Errorf("of the gift card is said %+v", r)
	}
	tee := admin[openapi.Product](s, "GET", "/products/summer-tee", nil, http.StatusOK)
	if tee.Type != openapi.ProductTypeVariable || len(tee.Variants) != 4 || len(tee.Images) != 4 || tee.Images[3].Url != "https://cdn.example/tee-blue.png" || len(tee.Options) != 2 ||
		*tee.Variants[0].Prices[0].CompareAt != "30.00" || tee.Variants[1].Options["Color"] != "Red" || tee.Variants[3].StockPolicy != openapi.StockPolicyContinue {
		t.Errorf("the tee is %+v", tee)
	}
	mug := admin[openapi.Product](s, "GET", "/products/mug", nil, http.StatusOK)
	if mug.Type != openapi.ProductTypeSimple || mug.Variants[0].WeightGrams != 350 || !mug.Variants[0].TrackStock || mug.Attributes[0].Value != "Acme" {
		t.Errorf("the mug is %+v", mug)
	}
	admin[openapi.Product](s, "GET", "/products/old-cap", nil, http.StatusOK)
	s.counts(s.bring("products", "shopify", shopifyFile(t)), 0, 0, 3, 1)
}

func TestWhoMayNotWriteAKindBringsNoneIn(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	key := admin[openapi.CreatedApiKey](s, "POST", "/api-keys", openapi.ApiKeyInput{Name: "stock", Scopes: []string{"transfers:write", "inventory:write"}}, http.StatusCreated)
	as := []string{"Authorization", "Bearer " + key.Secret}
	if w := s.do("POST", "/imports", `{"kind":"products","format":"csv"}`, as...); w.Code != http.StatusForbidden {
		t.Errorf("answered %d", w.Code)
	}
	if w := s.do("GET", "/exports/products?format=csv", "", as...); w.Code != http.StatusForbidden {
		t.Errorf("answered %d", w.Code)
	}
	i := s.begin("products", "csv", false)
	for _, path := range []string{"", "/refusals"} {
		if w := s.do("GET", "/imports/"+i.Id.String()+path, "", as...); w.Code != http.StatusNotFound {
			t.Errorf("another's import%s is answered %d", path, w.Code)
		}
	}
	var page openapi.ImportPage
	if w := s.do("GET", "/imports", "", as...); json.Unmarshal(w.Body.Bytes(), &page) != nil || len(page.Imports) != 0 {
		t.Errorf("lists %s", w.Body)
	}
}

func TestWhatProductsCostGoesOutToWhoMayReadCosts(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("products", "csv", shirts)
	s.counts(s.bring("prices", "csv", "sku,currency,amount,cost\nSHIRT-S,EUR,9.00,3.57\nSHIRT-M,EUR,9.50,3.57\n"), 0, 2, 0, 0)
	for _, c := range []struct {
		scopes []string
		costs  bool
	}{
		{[]string{"transfers:read", "products:read"}, false},
		{[]string{"transfers:read", "products:write"}, true},
	} {
		key := admin[openapi.CreatedApiKey](s, "POST", "/api-keys", openapi.ApiKeyInput{Name: "reader", Scopes: c.scopes}, http.StatusCreated)
		for _, path := range []string{"products?format=csv", "products?format=jsonl", "prices?format=csv", "prices?format=jsonl"} {
			w := s.do("GET", "/exports/"+path, "", "Authorization", "Bearer "+key.Secret)
			body := w.Body.String()
			if w.Code != http.StatusOK || !strings.Contains(body, "SHIRT-S") || strings.Contains(body, "3.57") != c.costs || strings.Contains(body, "cost") != c.costs {
				t.Errorf("%v: %s is answered %d %s", c.scopes, path, w.Code, body)
			}
		}
		asked := base64.RawURLEncoding.EncodeToString([]byte(`{"after":"","columns":["sku","cost"],"kind":"prices","format":"csv"}`))
		if w := s.do("GET", "/exports/prices?format=csv&cursor="+asked, "", "Authorization", "Bearer "+key.Secret); strings.Contains(w.Body.String(), "3.57") != c.costs {
			t.Errorf("%v: who makes a cursor is answered %d %s", c.scopes, w.Code, w.Body)
		}
	}
}

// one is a text of one line, as a merchant may write it and a spreadsheet would not.
func one(most int) *rapid.Generator[string] {
	return rapid.Map(rapid.StringOfN(rapid.SampledFrom([]rune("ab=+-@'\",;: \tä😀.0")), 0, most-1, -1), func(s string) string { return strings.TrimSpace(s) + "x" })
}

func TestAProductThatGoesOutAsCSVComesInAsItIs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	rapid.Check(t, func(r *rapid.T) {
		long := rapid.StringOfN(rapid.SampledFrom([]rune("a=\"', \t\n\rä")), 0, 20, -1).Draw(r, "description")
		in := openapi.ProductInput{
			Title: one(20).Draw(r, "title"), Type: openapi.ProductTypeVariable, Slug: new("round"), Options: &[]string{one(9).Draw(r, "option")},
			Description: new(regexp.MustCompile(`\r+\n`).ReplaceAllString(long, "\n")), // as a CSV has it
		}
		tags := rapid.SliceOfNDistinct(one(9), 0, 4, strings.ToLower).Draw(r, "tags")
		var attributes []openapi.Attribute
		for i, value := range rapid.SliceOfN(one(20), 0, 4).Draw(r, "attributes") {
			attributes = append(attributes, openapi.Attribute{Name: fmt.Sprintf("=N%d", i), Value: value})
		}
		images := []openapi.Image{{Url: "/a.png", Alt: new(one(20).Draw(r, "alt"))}, {Url: "/b.png"}}
		in.Tags, in.Attributes, in.Images = &tags, &attributes, &images
		in.Seo = &openapi.Seo{Title: new(one(20).Draw(r, "seo"))}
		for i, value := range rapid.SliceOfNDistinct(one(9), 1, 3, rapid.ID).Draw(r, "variants") {
			prices := []openapi.PriceInput{{Currency: "EUR", Amount: "3.00", CompareAt: new("4.00")}, {Currency: "USD", Amount: "3.50", Cost: new("1.25")}}
			in.Variants = append(in.Variants, openapi.VariantInput{Sku: fmt.Sprintf("R-%d", i), Prices: prices, Options: &map[string]string{(*in.Options)[0]: value}})
		}
		admin[openapi.Product](s, "POST", "/products", in, http.StatusCreated)
		out := s.out("products", "csv")
		if i := s.bring("products", "csv", out); i.Unchanged != 1 || i.Updated+i.Created+i.Refused != 0 {
			r.Errorf("%+v of %q: %+v", i, out, s.refusals(i))
		}
		s.asAdmin("DELETE", "/products/round", "")
		s.exec("DELETE FROM products")
	})
}

func TestWhatACSVCanNotSayIsNoTagOrAttribute(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, body := range []string{`"tags":["a\nb"]`, `"tags":["a\rb"]`, `"attributes":[{"name":"A\nB","value":"c"}]`, `"attributes":[{"name":"A","value":"b\r\nc"}]`} {
		w := s.asAdmin("POST", "/products", `{"title":"Mug","type":"simple","variants":[{"sku":"MUG","prices":[{"amount":"1.00","currency":"EUR"}]}],`+body+`}`)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "must be one line") {
			t.Errorf("%s is answered %d %s", body, w.Code, w.Body)
		}
	}
	i := s.bring("products", "csv", "slug,title,type,sku,price EUR,compareAt USD,cost EUR,price USD\nmug,Mug,simple,MUG,1.00,2.00,,\ncup,Cup,simple,CUP,,,1.00,1.00\n")
	s.counts(i, 0, 0, 0, 2)
	for n, want := range []string{"has a compareAt USD and no price USD", "has a cost EUR and no price EUR"} {
		if r := s.refusals(i)[n]; len(r.Errors) != 1 || r.Errors[0].Detail != want {
			t.Errorf("%+v", r)
		}
	}
}

func TestPricesOfAProductThatGoesAtThatMomentAreRefused(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("products", "csv", shirts)
	hold, err := s.Pool.Begin(t.Context())
	if err == nil {
		_, err = hold.Exec(t.Context(), "DELETE FROM products WHERE slug = 'mug'")
	}
	if err != nil {
		t.Fatal(err)
	}
	begun := s.begin("prices", "csv", false)
	done := make(chan openapi.Import)
	go func() {
		i, _ := s.part(begun, "sku,currency,amount\nMUG,EUR,9.00\n", 1000)
		done <- i
	}()
	testbed.Eventually(t, "the import waits for the product", func() bool {
		return s.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%LockProductsByID%'`) > 0
	})
	if err := hold.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.counts(<-done, 0, 0, 0, 1)
}

func TestPricesComeInForVariantsThatAreThere(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("products", "csv", shirts)
	before := admin[openapi.Product](s, "GET", "/products/shirt", nil, http.StatusOK)
	prices := "sku,currency,amount,compareAt,cost\nSHIRT-S,EUR,9.00,10.00,3.50\nSHIRT-M,EUR,9.50,,\nMUG,USD,6.00,,\nNONE,EUR,1.00,,\n"
	i := s.bring("prices", "csv", prices)
	s.counts(i, 0, 3, 0, 1)
	if all := s.refusals(i); all[0].Row != 5 {
		t.Errorf("refused are %+v", all)
	}
	after := admin[openapi.Product](s, "GET", "/products/shirt", nil, http.StatusOK)
	if p := after.Variants[0].Prices[0]; p.Amount != "9.00" || *p.CompareAt != "10.00" || after.Variants[1].Prices[0].Amount != "9.50" ||
		after.Variants[0].Id != before.Variants[0].Id || len(after.Tags) != 2 || after.Version != before.Version+1 {
		t.Errorf("the shirt is %+v", after)
	}
	s.counts(s.bring("prices", "csv", prices), 0, 0, 3, 1)
	// All of a product's variants have the same currencies, or none of its prices is taken.
	s.counts(s.bring("prices", "jsonl", `{"sku":"SHIRT-S","currency":"USD","amount":"12.00"}`+"\n"+`{"sku":"MUG","currency":"EUR","amount":"4.00"}`), 0, 1, 0, 1)
	for format, lines := range map[string]int{"csv": 1 + 6, "jsonl": 6} {
		out := s.out("prices", format)
		if got := strings.Count(out, "\n"); got != lines {
			t.Errorf("%d lines went out: %s", got, out)
		}
		s.counts(s.bring("prices", format, out), 0, 0, 6, 0)
	}
}

func TestStockComesInAsACount(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("products", "csv", shirts)
	admin[openapi.Location](s, "POST", "/locations", openapi.LocationInput{Name: "Shop"}, http.StatusCreated)
	cellar := admin[openapi.Location](s, "POST", "/locations", openapi.LocationInput{Name: "=Cellar"}, http.StatusCreated)
	file := "sku,location,onHand\nSHIRT-S,Shop,12\nSHIRT-S,'=Cellar,3\nSHIRT-M,Attic,1\nMUG,,-1\nMUG,,x\nNONE,,1\nSHIRT-S,Shop,13\n"
	i := s.bring("stock", "csv", file)
	s.counts(i, 0, 2, 0, 5)
	for n, r := range s.refusals(i) {
		if r.Row != int64(4+n) {
			t.Errorf("refused is row %d", r.Row)
		}
	}
	levels := admin[openapi.InventoryPage](s, "GET", "/inventory?sku=SHIRT-S", nil, http.StatusOK).Levels
	if len(levels) != 2 || levels[0].OnHand+levels[1].OnHand != 15 {
		t.Errorf("there are %+v", levels)
	}
	for format := range map[string]bool{"csv": true, "jsonl": true} {
		out := s.out("stock", format)
		if format == "csv" && !strings.Contains(out, ",'=Cellar,3") {
			t.Errorf("a spreadsheet takes a location for a formula: %s", out)
		}
		s.counts(s.bring("stock", format, out), 0, 0, 2, 0)
	}
	moved := admin[openapi.MovementPage](s, "GET", "/inventory/movements?sku=SHIRT-S&locationId="+cellar.Id.String(), nil, http.StatusOK).Movements
	if len(moved) != 1 || moved[0].Reason != openapi.MovementReasonCount || moved[0].OnHand != 3 {
		t.Errorf("the ledger has %+v", moved)
	}
	s.wantAddedUp()
}

func TestACountBelowWhatIsReservedIsRefused(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 5)
	want[openapi.Order](t, s.cartOf(s.shipping(), line(mug, 2)).order(), http.StatusCreated)
	i := s.bring("stock", "csv", "sku,onHand\nMUG,1\n")
	s.counts(i, 0, 0, 0, 1)
	if all := s.refusals(i); all[0].Code != "stock_too_low" {
		t.Errorf("refused are %+v", all)
	}
	s.counts(s.bring("stock", "csv", "sku,onHand\nMUG,2\n"), 0, 1, 0, 0)
	s.wantAddedUp()
}

func TestAnExportInPartsIsOneFile(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var file strings.Builder
	file.WriteString("slug,title,description,type,sku,price EUR\n")
	const n = 1200 // of 2 KB each
	for i := range n {
		fmt.Fprintf(&file, "p-%d,P %d,%s,simple,P-%d,1.00\n", i, i, strings.Repeat("word ", 400), i)
	}
	s.counts(s.bring("products", "csv", file.String()), n, 0, 0, 0)
	w := s.asAdmin("GET", "/exports/products?format=jsonl", "")
	if !strings.Contains(w.Header().Get("Link"), `rel="next"`) {
		t.Fatalf("%d bytes come at once", w.Body.Len())
	}
	for _, format := range []string{"csv", "jsonl"} {
		out := s.out("products", format)
		for i := range n {
			if strings.Count(out, fmt.Sprintf("word p-%d,", i))+strings.Count(out, fmt.Sprintf("\np-%d,", i))+strings.Count(out, fmt.Sprintf(`"slug":"p-%d",`, i)) != 1 {
				t.Fatalf("%s: product %d does not come once", format, i)
			}
		}
		s.counts(s.bring("products", format, out), 0, 0, n, 0)
	}
}

// others are rows of n products that are not what a test is about.
func others(from, n int) string {
	var rows strings.Builder
	for i := range n {
		fmt.Fprintf(&rows, "other-%d,Other %d,simple,,OTHER-%d,,1.00\n", from+i, from+i, from+i)
	}
	return rows.String()
}

func TestRowsOfOneProductThatAreFarApartAreRefused(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const header = "slug,title,type,option1Name,sku,option1Value,price EUR\n"
	const first, second = "far,Far,variable,Size,FAR1,S,1.00\n", "far,Far,variable,Size,FAR2,M,1.00\n"
	for n, between := range []int{1, 150, 450} {
		file := header + first + others(1000*n, between) + second + second
		for _, dry := range []bool{true, false} {
			i := s.begin("products", "csv", dry)
			for i.State == openapi.ImportStateOpen {
				i, _ = s.part(i, file, 9000)
			}
			if i.Refused != 1 {
				t.Errorf("with %d products between them, dry %t: %+v", between, dry, i)
				continue
			}
			r := s.refusals(i)[0]
			if r.Row != int64(between+3) || len(r.Errors) != 1 || r.Errors[0].Pointer != "/slug" || !strings.Contains(r.Errors[0].Detail, "row 2,") {
				t.Errorf("with %d products between them, dry %t: %+v", between, dry, r)
			}
		}
		if p := admin[openapi.Product](s, "GET", "/products/far", nil, http.StatusOK); len(p.Variants) != 1 || p.Variants[0].Sku != "FAR1" {
			t.Errorf("with %d products between them it is %+v", between, p)
		}
	}
	// Part of a product that is refused is not the product either.
	i := s.bring("products", "csv", header+"half,Half,variable,Size,HALF1,S,one\n"+others(9000, 120)+"half,Half,variable,Size,HALF2,M,1.00\n")
	s.counts(i, 120, 0, 0, 2)
	// Another file may say it anew.
	s.counts(s.bring("products", "csv", header+second), 0, 1, 0, 0)
}

func TestAFileSaysOfAnythingWhatItIsOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("products", "csv", shirts)
	for kind, file := range map[string]string{
		"prices":    "sku,currency,amount\nMUG,EUR,4.00\nMUG,EUR,4.50\nMUG,EUR,4.60\n",
		"stock":     "sku,onHand\nMUG,4\nMUG,5\nMUG,6\n",
		"customers": "email\nada@example.com\nbob@example.com\nADA@example.com \nbob@example.com\n",
	} {
		i := s.bring(kind, "csv", file)
		if i.Refused != 2 {
			t.Errorf("%s: %+v", kind, i)
		}
		for _, r := range s.refusals(i) {
			if len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Detail, " is that of row 2, too") && !strings.Contains(r.Errors[0].Detail, " is that of row 3, too") {
				t.Errorf("%s: %+v", kind, r)
			}
		}
	}
	if mug := admin[openapi.Product](s, "GET", "/products/mug", nil, http.StatusOK); mug.Variants[0].Prices[0].Amount != "4.00" {
		t.Errorf("the mug costs %+v", mug.Variants[0].Prices)
	}
}

func TestWhatAnImportKnewRecordsByIsForgottenAsItEnds(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("products", "csv", shirts)
	open, _ := s.part(s.begin("products", "csv", true), shirts+"cup,Cup,simple,,,,,,CUP,,5.00,,,\r\n", len(shirts))
	if n := s.number("SELECT count(*) FROM import_keys"); n != 3 {
		t.Errorf("there are %d", n)
	}
	_, retention := s.Sweeps()
	for _, sweep := range retention {
		if sweep.Name == "imports" {
			if _, err := sweep.Do(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	if n := s.number("SELECT count(*) FROM import_keys"); n != 1 || s.number("SELECT count(*) FROM import_keys WHERE import_id = '"+open.Id.String()+"'") != 1 {
		t.Errorf("%d are left", n)
	}
}

func TestHandlesOfShopifyThatAreNotOneAreNotOneProduct(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var file strings.Builder
	file.WriteString("Handle,Title,Variant Price\nschön-x,Schön,1.00\nfoo_bar,First,1.00\n")
	for i := range 120 {
		fmt.Fprintf(&file, "other-%d,Other,1.00\n", i)
	}
	file.WriteString("schàn-x,Schàn,1.00\nfoo-bar,Second,1.00\nфутболка,Футболка,1.00\nшапка,Шапка,1.00\n日本語,日本語,1.00\nürl-handle,Url,1.00\nß,Ess,1.00\n🎁,Gift,1.00\n")
	i := s.bring("products", "shopify", file.String())
	s.counts(i, 128, 0, 0, 2)
	if all := s.refusals(i); all[0].Row != 125 || !strings.HasPrefix(all[0].Errors[0].Detail, `"foo-bar" is that of row 3, too`) || all[1].Row != 131 || all[1].Errors[0].Pointer != "Handle" {
		t.Errorf("refused are %+v", all)
	}
	for slug, title := range map[string]string{
		"schon-x": "Schön", "schan-x": "Schàn", "foo-bar": "First", "futbolka": "Футболка", "shapka": "Шапка", "ri-ben-yu": "日本語", "url-handle": "Url", "ss": "Ess",
	} {
		if p := admin[openapi.Product](s, "GET", "/products/"+slug, nil, http.StatusOK); p.Title != title || p.Variants[0].Sku != slug+"-1" {
			t.Errorf("%s is %+v", slug, p)
		}
	}
}

func TestWhatAShopifyFileLacksIsSaid(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	i := s.bring("products", "shopify", "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src\n"+
		"mug,Mug,,,,,\n"+
		"tee,Tee,Size,S,TEE-S,1.00,/a.png\ntee,,,M,TEE-M,,/b.png\n"+
		"cup,Cup,,,RED CUP,1.00,\n"+
		"cap,Cap,,,CAP,1.00,/a.png\ncap,,,,,,/b.png\n")
	s.counts(i, 1, 0, 0, 3)
	want := []struct{ pointer, detail string }{
		{"Variant Price", "is empty for variant 1 of the product"}, {"Variant Price", "is empty for variant 2 of the product"}, {"Variant SKU", `"RED CUP" is none`},
	}
	for n, r := range s.refusals(i) {
		if len(r.Errors) != 1 || r.Errors[0].Pointer != want[n].pointer || !strings.HasPrefix(r.Errors[0].Detail, want[n].detail) {
			t.Errorf("row %d is refused by %+v", r.Row, r)
		}
	}
}

func TestACellTooManyIsRefusedWithItsRow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	i := s.bring("products", "csv", "slug,title,type,option1Name,sku,option1Value,price EUR\n"+
		"cap,Cap,simple,,CAP,,1.00,,\n"+ // a spreadsheet's empty cells
		"mug,Mug,simple,,MUG,,1.00,EXTRA\n"+
		"tee,Tee,variable,Size,TEE-S,S,1.00\ntee,,,,TEE-M,M,1.00,9\ntee,,,,TEE-L,L,1.00\n"+
		"cup,A cup, red,simple,,CUP,,1.00\n")
	s.counts(i, 1, 0, 0, 3)
	for n, row := range []int64{3, 5, 7} {
		if r := s.refusals(i)[n]; r.Row != row || len(r.Errors) != 1 || !strings.HasPrefix(r.Errors[0].Detail, "has 8 cells under 7 columns") {
			t.Errorf("%+v", r)
		}
	}
	i = s.bring("prices", "csv", "sku,currency,amount\nCAP,EUR,2.00,3.00\n")
	s.counts(i, 0, 0, 0, 1)
}

func TestAFileMayBeginWithAByteOrderMarkAndIsUTF8(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const cap = `{"title":"Cap","type":"simple","variants":[{"sku":"CAP","prices":[{"amount":"1.00","currency":"EUR"}]}]}` + "\n"
	s.counts(s.bring("products", "jsonl", "\xef\xbb\xbf"+cap+strings.ReplaceAll(strings.ReplaceAll(cap, "CAP", "MUG"), "Cap", "Mug")), 2, 0, 0, 0)
	for format, file := range map[string]string{
		"csv": "\xff\xfes\x00k\x00u\x00\n\x00", "jsonl": "\xfe\xff\x00{\x00}\x00\n",
	} {
		w := s.asAdmin("PATCH", "/imports/"+s.begin("products", format, false).Id.String(), file, "Content-Type", "application/octet-stream", "Upload-Offset", "0", "Upload-Complete", "true")
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "is UTF-16: save the file as UTF-8") {
			t.Errorf("%s is answered %d %s", format, w.Code, w.Body)
		}
	}
	w := s.asAdmin("PATCH", "/imports/"+s.begin("products", "csv", false).Id.String(), "slug,title,type,sku,gr\xf6\xdfe\n", "Content-Type", "application/octet-stream", "Upload-Offset", "0")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "is not UTF-8") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

func TestAPartSaysWhereItBeginsAndWhetherTheFileEnds(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	send := func(headers ...string) *httptest.ResponseRecorder {
		return s.asAdmin("PATCH", "/imports/"+s.begin("products", "csv", true).Id.String(), shirts, append(headers, "Content-Type", "application/octet-stream")...)
	}
	for value, state := range map[string]openapi.ImportState{
		"?1": openapi.ImportStateDone, "true": openapi.ImportStateDone, "1": openapi.ImportStateDone, "?0": openapi.ImportStateOpen, "false": openapi.ImportStateOpen,
	} {
		if i := want[openapi.Import](t, send("Upload-Offset", "0", "Upload-Complete", value), http.StatusOK); i.State != state {
			t.Errorf("after %q it is %s", value, i.State)
		}
	}
	for name, headers := range map[string][]string{"Upload-Offset": {"Upload-Complete", "?1"}, "Upload-Complete": {"Upload-Offset", "0", "Upload-Complete", "?2"}} {
		p := wantProblem(t, send(headers...), http.StatusBadRequest, "invalid_request")
		if all := *p.Errors; len(all) != 1 || all[0].Pointer != name {
			t.Errorf("without %s it is answered %+v", name, all)
		}
	}
}

func TestAStoreComesWholeIntoAnEmptyOne(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if n, err := sample.Seed(t.Context(), s.Commerce); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	for _, format := range []string{"csv", "jsonl"} {
		empty := newStore(t)
		for _, kind := range []string{"categories", "products", "prices", "stock"} {
			file := s.out(kind, format)
			if i := empty.bring(kind, format, file); i.Refused > 0 || i.Created+i.Updated+i.Unchanged == 0 {
				t.Errorf("%s as %s: %+v: %+v", kind, format, i, empty.refusals(i))
			}
			if again := empty.out(kind, format); again != file && kind != "stock" { // which is in the order of its variants' ids
				t.Errorf("%s went out as %s, and then as %s", kind, file, again)
			}
			if i := empty.bring(kind, format, file); i.Created+i.Updated+i.Refused > 0 {
				t.Errorf("%s as %s again: %+v", kind, format, i)
			}
		}
	}
}

func TestCategoriesComeInBelowThoseThatAreThere(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const tree = "slug,name,parent,position\nclothes,Clothes,,1\nshirts,Shirts,clothes,2\n"
	s.counts(s.bring("categories", "csv", tree), 2, 0, 0, 0)
	s.counts(s.bring("categories", "csv", tree), 0, 0, 2, 0)
	shirts := admin[openapi.Category](s, "GET", "/categories/shirts", nil, http.StatusOK)
	if len(shirts.Path) != 2 || shirts.Path[0] != "clothes" || shirts.Position != 2 {
		t.Errorf("%+v", shirts)
	}
	i := s.bring("categories", "csv", "slug,name,parent,position,id\nclothes,Clothes,shirts,1,\ncaps,Caps,hats,,\nhats,Hats,,one,\nbags,,,,\nBags,Bags,,,\nbelts,Belts,,,"+shirts.Id.String()+"\nties,Ties,clothes,,\nties,Ties,,,\n")
	s.counts(i, 1, 0, 0, 7)
	want := []string{"/parentId", "/parent", "/position", "/name", "/slug", "/id", "/slug"}
	for n, r := range s.refusals(i) {
		if len(r.Errors) != 1 || r.Errors[0].Pointer != want[n] {
			t.Errorf("row %d is refused by %+v", r.Row, r)
		}
	}
	s.counts(s.bring("categories", "jsonl", `{"slug":"shirts","name":"Shirts and tops","parent":"clothes"}`+"\n"+`{"slug":"ties","name":"Ties"}`), 0, 2, 0, 0)
	if now := admin[openapi.Category](s, "GET", "/categories/ties", nil, http.StatusOK); len(now.Path) != 1 {
		t.Errorf("%+v", now)
	}
	if now := admin[openapi.Category](s, "GET", "/categories/shirts", nil, http.StatusOK); now.Id != shirts.Id || now.Name != "Shirts and tops" {
		t.Errorf("%+v", now)
	}
}

func TestOfPricesOfAProductItIsSaidWhichIsWrong(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.bring("products", "csv", shirts)
	i := s.bring("prices", "csv", "sku,currency,amount,compareAt\nSHIRT-S,EUR,9.00,\nSHIRT-M,EUR,9.50,\nSHIRT-S,JPY,16.00,\nSHIRT-M,JPY,1700,1600\nMUG,EUR,4.00,\n")
	s.counts(i, 0, 1, 0, 4)
	want := []openapi.FieldError{
		{Pointer: "/sku", Detail: `the price of "SHIRT-S" in "JPY" is refused`}, {Pointer: "/sku", Detail: `the price of "SHIRT-S" in "JPY" is refused`},
		{Pointer: "/amount", Detail: "JPY has 0 digits"}, {Pointer: "/compareAt", Detail: "must be above amount"},
	}
	for n, r := range s.refusals(i) {
		if r.Row != int64(n+2) || len(r.Errors) != 1 || r.Errors[0].Pointer != want[n].Pointer || !strings.Contains(r.Errors[0].Detail, want[n].Detail) {
			t.Errorf("%+v", r)
		}
	}
	i = s.bring("prices", "csv", "sku,currency,amount\nSHIRT-S,USD,9.00\n")
	s.counts(i, 0, 0, 0, 1)
	if r := s.refusals(i)[0]; len(r.Errors) != 1 || r.Errors[0].Pointer != "/currency" || !strings.Contains(r.Errors[0].Detail, `"SHIRT-M": must be in the currencies of the first variant`) {
		t.Errorf("%+v", r)
	}
}

func TestBundlesGoIntoAStoreThatHasNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	bundle := func(sku, parts string) string {
		return fmt.Sprintf(`{"title":%q,"slug":%q,"type":"bundle","status":"active","variants":[{"sku":%q,"prices":[{"amount":"9.00","currency":"EUR"}]}],"bundle":[%s]}`, sku, strings.ToLower(sku), sku, parts)
	}
	cup, plate := s.stocked("CUP", "5.00", 10), s.stocked("PLATE", "4.00", 10)
	set := admin[openapi.Product](s, "POST", "/products", bundle("SET", `{"sku":"CUP","quantity":2},{"sku":"PLATE","quantity":1}`), http.StatusCreated)
	if len(set.Bundle) != 2 || set.Bundle[0].VariantId != cup.Id || set.Bundle[0].Quantity != 2 || set.Bundle[1].VariantId != plate.Id {
		t.Fatalf("%+v", set.Bundle)
	}
	admin[openapi.Product](s, "POST", "/products", bundle("PAIR", `{"sku":"CUP","quantity":2}`), http.StatusCreated)
	for _, format := range []string{"csv", "jsonl"} {
		file := s.out("products", format)
		other := newStore(t)
		other.counts(other.bring("products", format, file), 4, 0, 0, 0)
		other.counts(other.bring("products", format, file), 0, 0, 4, 0)
		if back := other.out("products", format); back != file {
			t.Errorf("it was\n%s\nand comes out as\n%s", file, back)
		}
		// What is sold there is what is made of the other store's parts.
		if set := admin[openapi.Product](other, "GET", "/products/set", nil, http.StatusOK); len(set.Bundle) != 2 || set.Bundle[0].VariantId == cup.Id {
			t.Errorf("%+v", set.Bundle)
		}
		changed := strings.NewReplacer("CUP: 2\n", "CUP: 3\n", `"quantity":1,"sku":"PLATE"`, `"quantity":2,"sku":"PLATE"`).Replace(file)
		other.counts(other.bring("products", format, changed), 0, 1, 3, 0)
	}
}

func TestABundleOfWhatIsNotThereIsRefusedUntilItIs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const columns = "slug,title,type,sku,price EUR,bundle\n"
	const bundles = "set,Set,bundle,SET,9.00,\"CUP: 2\nPLATE: 1\"\n" + "bad,Bad,bundle,BAD,9.00,CUP\n" + "pair,Pair,bundle,PAIR,9.00,SET: 2\n"
	const cup, plate = "cup,Cup,simple,CUP,5.00,\n", "plate,Plate,simple,PLATE,5.00,\n"
	i := s.bring("products", "csv", columns+bundles+cup) // the cup comes in with them
	s.counts(i, 1, 0, 0, 3)
	want := map[int64]string{2: "/bundle/1/sku", 3: "/bundle/0", 4: "/bundle/0/sku"}
	for _, r := range s.refusals(i) {
		if len(r.Errors) != 1 || r.Errors[0].Pointer != want[r.Row] {
			t.Errorf("row %d is refused by %+v", r.Row, r.Errors)
		}
	}
	s.counts(s.bring("products", "csv", columns+bundles+plate), 2, 0, 0, 2)
}

func TestAnImportThatChangesNothingCostsTheSameForFewAndMany(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	file := func(products int) string {
		var b strings.Builder
		for i := range products {
			fmt.Fprintf(&b, `{"slug":"p%d","title":"P%d","type":"simple","variants":[{"sku":"P%d","prices":[{"amount":"2.00","currency":"EUR","cost":"1.00"}]}]}`+"\n", i, i, i)
		}
		return b.String()
	}
	cost := func(products int) int64 {
		t.Helper()
		i := s.begin("products", "jsonl", false)
		before := s.statements.Load()
		i, code := s.part(i, file(products), 1<<20)
		if code != http.StatusOK {
			t.Fatal(code)
		}
		s.counts(i, 0, 0, int64(products), 0)
		return s.statements.Load() - before
	}
	s.counts(s.bring("products", "jsonl", file(50)), 50, 0, 0, 0)
	if few, many := cost(5), cost(50); few != many {
		t.Errorf("5 cost %d statements, 50 cost %d", few, many)
	}
	other := s.begin("products", "jsonl", false)
	other, code := s.part(other, strings.Replace(file(1), `"cost":"1.00"`, `"cost":"1.50"`, 1), 1<<20)
	if s.counts(other, 0, 1, 0, 0); code != http.StatusOK {
		t.Error(code)
	}
}
