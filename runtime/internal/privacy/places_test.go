package privacy

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// TestItIsSaidOfEveryColumnWhatBecomesOfIt is what a migration fails that adds
// a column in which something personal could be.
func TestItIsSaidOfEveryColumnWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT c.table_name::text, c.column_name::text
		FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = current_schema AND t.table_type = 'BASE TABLE'
		  AND c.data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'bytea', 'ARRAY', 'inet', 'cidr', 'tsvector', 'xml', 'USER-DEFINED', 'name')
		ORDER BY 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for table, fates := range Places {
		for _, columns := range fates {
			for _, column := range columns {
				if said[table+"."+column] {
					t.Errorf("%s.%s has two fates", table, column)
				}
				said[table+"."+column] = true
			}
		}
	}
	there := map[string]bool{}
	var table, column string
	_, err = pgx.ForEachRow(rows, []any{&table, &column}, func() error {
		there[table+"."+column] = true
		if !said[table+"."+column] {
			t.Errorf("%s.%s: say in Places what becomes of it when somebody is erased, and have it become so", table, column)
		}
		return nil
	})
	if err != nil || len(there) < 100 {
		t.Fatalf("%d columns: %v", len(there), err)
	}
	for column := range said {
		if !there[column] {
			t.Errorf("%s is no column that holds text, JSON or bytes", column)
		}
	}
}

func TestItIsSaidOfEveryDetailOfAnOrderWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	erased := []string{"shippingAddress", "billingAddress", "vatId", "note"} // by EraseOrders
	kept := []string{"shippingMethod", "locale", "pricesIncludeTax", "reverseCharge", "discounts", "taxes"}
	there := map[string]bool{}
	details := reflect.TypeFor[order.Details]()
	for i := range details.NumField() {
		name, _, _ := strings.Cut(details.Field(i).Tag.Get("json"), ",")
		there[name] = true
	}
	for _, name := range slices.Concat(erased, kept) {
		delete(there, name)
	}
	if left := slices.Collect(maps.Keys(there)); len(left) > 0 {
		t.Errorf("what becomes of %v of an order when its buyer is erased? See EraseOrders", left)
	}
}

func TestThePageNamesEveryTableWithPersonalData(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/concepts/privacy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, kept, _ := strings.Cut(string(page), "\n## What is kept, and how long\n")
	for table, fates := range Places {
		personal := len(fates[Removed])+len(fates[Redacted])+len(fates[Lapses]) > 0
		if personal != strings.Contains(kept, "`"+table+"`") && len(fates[Books]) == 0 {
			t.Errorf("docs/concepts/privacy.md says of %s how long it is kept: %v", table, !personal)
		}
	}
}
