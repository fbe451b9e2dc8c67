package customer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/text/language"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// mostAddresses is how many a customer may keep.
const mostAddresses = 50

// CheckAddress notes what is wrong with an address; pointer is where it is in
// the input, such as /address.
func CheckAddress(f *problem.Findings, pointer string, a openapi.Address) {
	f.Text(pointer+"/name", a.Name, 1, 200)
	f.Text(pointer+"/line1", a.Line1, 1, 200)
	f.Text(pointer+"/city", a.City, 1, 100)
	for _, optional := range []struct {
		name  string
		value *string
		most  int
	}{
		{"company", a.Company, 200}, {"line2", a.Line2, 200}, {"region", a.Region, 10}, {"postalCode", a.PostalCode, 20}, {"phone", a.Phone, 40},
	} {
		if optional.value != nil {
			f.Text(pointer+"/"+optional.name, *optional.value, 0, optional.most)
		}
	}
	// Some former countries pass too; none has a shipping zone.
	region, err := language.ParseRegion(a.Country)
	f.Require(err == nil && region.IsCountry() && region.String() == a.Country && region.Canonicalize() == region, pointer+"/country", "must be an ISO 3166-1 code of two letters, such as DE")
}

func checkSaved(in openapi.SavedAddressInput) error {
	var f problem.Findings
	CheckAddress(&f, "/address", in.Address)
	return f.Err()
}

func saved(id uuid.UUID, in openapi.SavedAddressInput) openapi.SavedAddress {
	return openapi.SavedAddress{Id: id, Address: in.Address, Default: in.Default != nil && *in.Default}
}

func (s *Service) addresses(ctx context.Context, customerID uuid.UUID) (openapi.AddressList, error) {
	rows, err := customerdb.New(s.pool).ListAddresses(ctx, customerID)
	if err != nil {
		return openapi.AddressList{}, fmt.Errorf("listing addresses: %w", err)
	}
	list := openapi.AddressList{Addresses: make([]openapi.SavedAddress, len(rows))}
	for i, r := range rows {
		list.Addresses[i] = openapi.SavedAddress{Id: r.ID, Default: r.IsDefault}
		if err := json.Unmarshal(r.Address, &list.Addresses[i].Address); err != nil {
			return openapi.AddressList{}, fmt.Errorf("address %s: %w", r.ID, err)
		}
	}
	return list, nil
}

// addAddress keeps an address. The customer's row is locked, so that neither
// the bound nor the one default is passed by two at once.
func (s *Service) addAddress(ctx context.Context, tx pgx.Tx, customerID uuid.UUID, in openapi.SavedAddressInput) (openapi.SavedAddress, error) {
	if err := checkSaved(in); err != nil {
		return openapi.SavedAddress{}, err
	}
	raw, err := json.Marshal(in.Address)
	if err != nil {
		return openapi.SavedAddress{}, err
	}
	q, a := customerdb.New(tx), saved(uuid.Must(uuid.NewV7()), in)
	if err := q.LockCustomer(ctx, customerID); err != nil {
		return openapi.SavedAddress{}, fmt.Errorf("locking a customer: %w", err)
	}
	n, err := q.InsertAddress(ctx, customerdb.InsertAddressParams{ID: a.Id, CustomerID: customerID, Address: raw, IsDefault: a.Default, Most: mostAddresses})
	if err != nil {
		return openapi.SavedAddress{}, fmt.Errorf("storing an address: %w", err)
	}
	if n == 0 {
		return openapi.SavedAddress{}, problem.New(http.StatusConflict, "too_many_addresses", "An account keeps at most %d addresses.", mostAddresses)
	}
	return a, nil
}

func (s *Service) replaceAddress(ctx context.Context, customerID, id uuid.UUID, in openapi.SavedAddressInput) (openapi.SavedAddress, error) {
	if err := checkSaved(in); err != nil {
		return openapi.SavedAddress{}, err
	}
	raw, err := json.Marshal(in.Address)
	if err != nil {
		return openapi.SavedAddress{}, err
	}
	a := saved(id, in)
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := customerdb.New(tx)
		if err := q.LockCustomer(ctx, customerID); err != nil {
			return fmt.Errorf("locking a customer: %w", err)
		}
		n, err := q.ReplaceAddress(ctx, customerdb.ReplaceAddressParams{ID: id, CustomerID: customerID, Address: raw, IsDefault: a.Default})
		return ownAddress(n, err, id)
	})
	return a, err
}

func (s *Service) deleteAddress(ctx context.Context, customerID, id uuid.UUID) error {
	n, err := customerdb.New(s.pool).DeleteAddress(ctx, customerdb.DeleteAddressParams{ID: id, CustomerID: customerID})
	return ownAddress(n, err, id)
}

func ownAddress(rows int64, err error, id uuid.UUID) error {
	if err != nil {
		return fmt.Errorf("changing an address: %w", err)
	}
	if rows == 0 {
		return problem.New(http.StatusNotFound, "address_not_found", "None of your addresses has the id %s.", id)
	}
	return nil
}
