package customer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Transfer is how customers go out. They do not come in: an account is its
// owner's to open.
func (s *Service) Transfer() transfer.Kind {
	return transfer.Of[openapi.Customer]{
		Name: "customers", ReadScope: "customers:read", From: s.from,
		Sheets: map[string]transfer.Sheet[openapi.Customer]{"csv": {
			Columns: func(context.Context) ([]string, error) {
				return []string{"id", "email", "emailVerified", "name", "role", "locked", "createdAt"}, nil
			},
			Rows: func(c openapi.Customer) []map[string]string {
				return []map[string]string{{
					"id": c.Id.String(), "email": transfer.Defused(c.Email), "emailVerified": strconv.FormatBool(c.EmailVerified), "name": transfer.Defused(c.Name),
					"role": string(c.Role), "locked": strconv.FormatBool(c.Locked), "createdAt": c.CreatedAt.Format(time.RFC3339),
				}}
			},
		}},
	}
}

func (s *Service) from(ctx context.Context, after string, most int32) (all []openapi.Customer, last string, err error) {
	id, err := transfer.Place(after)
	if err != nil {
		return nil, "", err
	}
	rows, err := customerdb.New(s.pool).CustomersFrom(ctx, customerdb.CustomersFromParams{After: id, Most: most})
	if err != nil {
		return nil, "", fmt.Errorf("reading customers: %w", err)
	}
	for _, r := range rows {
		all, last = append(all, customer(customerdb.CustomerByIDRow(r))), r.ID.String()
	}
	if len(rows) < int(most) {
		last = ""
	}
	return all, last, nil
}
