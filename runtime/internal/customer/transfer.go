package customer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// The columns of a CSV: a row for each address; what is the customer's own
// stands in the first.
var (
	ownColumns     = []string{"id", "email", "emailVerified", "name", "role", "locked", "createdAt"}
	addressColumns = []string{"addressName", "company", "line1", "line2", "city", "region", "postalCode", "country", "phone", "default"}
	columns        = slices.Concat(ownColumns, addressColumns)
)

// Transfer is how customers come in, without a password, and go out.
func (s *Service) Transfer() transfer.Kind {
	return transfer.Of[Record]{
		Name: "customers", ReadScope: "customers:read", WriteScope: "customers:admin", Put: s.importCustomers, From: s.from,
		Key: func(r Record) (string, string) { return CheckEmail(&problem.Findings{}, r.Email), "/email" },
		Sheets: map[string]transfer.Sheet[Record]{"csv": {
			Group: "email", Required: []string{"email"}, Known: func(c string) bool { return slices.Contains(columns, c) },
			Read:    func(_ context.Context, rows []transfer.Row) (Record, error) { return readRows(rows) },
			Columns: func(context.Context) ([]string, error) { return columns, nil },
			Rows:    rowsOf,
		}},
	}
}

// readRows makes a record of its rows. A column that is not there leaves what it
// is about as it is, and so does an empty cell, save for a name.
func readRows(rows []transfer.Row) (Record, error) {
	first := rows[0]
	r := Record{Email: first.Get("email")}
	var f problem.Findings
	r.ID = cell(&f, first, "id", "must be a UUID", uuid.Parse)
	r.EmailVerified = cell(&f, first, "emailVerified", "must be true or false", strconv.ParseBool)
	r.Role = cell(&f, first, "role", "", func(s string) (openapi.Role, error) { return openapi.Role(s), nil })
	r.Locked = cell(&f, first, "locked", "must be true or false", strconv.ParseBool)
	r.CreatedAt = cell(&f, first, "createdAt", "must be a time such as 2026-01-31T09:00:00Z", func(s string) (time.Time, error) { return time.Parse(time.RFC3339, s) })
	there := first.Columns()
	if slices.Contains(there, "name") {
		r.Name = new(first.Get("name"))
	}
	if !slices.ContainsFunc(addressColumns, func(c string) bool { return slices.Contains(there, c) }) {
		return r, f.Err()
	}
	r.Addresses = &[]openapi.SavedAddressInput{}
	for _, row := range rows {
		if !slices.ContainsFunc(addressColumns, func(c string) bool { return row.Get(c) != "" }) {
			continue
		}
		*r.Addresses = append(*r.Addresses, openapi.SavedAddressInput{
			Address: openapi.Address{
				Name: row.Get("addressName"), Company: optional.Of(row.Get("company")), Line1: row.Get("line1"), Line2: optional.Of(row.Get("line2")), City: row.Get("city"),
				Region: optional.Of(row.Get("region")), PostalCode: optional.Of(row.Get("postalCode")), Country: row.Get("country"), Phone: optional.Of(row.Get("phone")),
			},
			Default: cell(&f, row, "default", "must be true or false", strconv.ParseBool),
		})
	}
	return r, f.Err()
}

// cell reads one, nil where it is empty.
func cell[T any](f *problem.Findings, row transfer.Row, column, wrong string, parse func(string) (T, error)) *T {
	text := strings.TrimSpace(row.Get(column))
	if text == "" {
		return nil
	}
	v, err := parse(text)
	f.Require(err == nil, "/"+column, "%s", wrong)
	return &v
}

func rowsOf(r Record) []map[string]string {
	rows := []map[string]string{{
		"id": r.ID.String(), "emailVerified": strconv.FormatBool(*r.EmailVerified), "name": transfer.Defused(*r.Name),
		"role": string(*r.Role), "locked": strconv.FormatBool(*r.Locked), "createdAt": r.CreatedAt.Format(time.RFC3339Nano),
	}}
	for i, a := range *r.Addresses {
		if i > 0 {
			rows = append(rows, map[string]string{})
		}
		for column, text := range map[string]string{
			"addressName": a.Address.Name, "company": optional.Value(a.Address.Company), "line1": a.Address.Line1, "line2": optional.Value(a.Address.Line2), "city": a.Address.City,
			"region": optional.Value(a.Address.Region), "postalCode": optional.Value(a.Address.PostalCode), "country": a.Address.Country, "phone": optional.Value(a.Address.Phone),
		} {
			rows[i][column] = transfer.Defused(text)
		}
		rows[i]["default"] = strconv.FormatBool(optional.Value(a.Default))
	}
	for _, row := range rows {
		row["email"] = transfer.Defused(r.Email)
	}
	return rows
}

func (s *Service) from(ctx context.Context, after string, most int32) (all []Record, last string, err error) {
	id, err := transfer.Place(after)
	if err != nil {
		return nil, "", err
	}
	q := customerdb.New(s.pool)
	rows, err := q.CustomersFrom(ctx, customerdb.CustomersFromParams{After: id, Most: most})
	if err != nil {
		return nil, "", fmt.Errorf("reading customers: %w", err)
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	saved, err := addressesOf(ctx, q, ids)
	if err != nil {
		return nil, "", err
	}
	for _, r := range rows {
		addresses := plain(saved[r.ID])
		all = append(all, Record{
			ID: &r.ID, Email: r.Email, EmailVerified: &r.EmailVerified, Name: &r.Name, Role: new(openapi.Role(r.Role)), Locked: &r.Locked,
			CreatedAt: new(r.CreatedAt.UTC()), Addresses: &addresses,
		})
		last = r.ID.String()
	}
	if len(rows) < int(most) {
		last = ""
	}
	return all, last, nil
}
