// Package transfer brings records into the store from files and takes them out
// again, a part at a time: each part is a request of its own, and what it did is
// committed with how far the file has come, so that whoever was interrupted goes
// on where the store is. It knows no commerce: packages of commerce have a Kind
// each. It owns the tables imports, import_refusals and import_keys.
package transfer

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
)

// Outcome is what became of a record.
type Outcome string

// What became of records that were taken.
const (
	Created   Outcome = "created"
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
)

// Result is what became of a record; Err is why it was not taken, a
// *problem.Problem.
type Result struct {
	Outcome Outcome
	Err     error
}

// Kind is what can be brought in or taken out, such as products.
type Kind interface {
	about() about
	// key is what a record is known by, and what of it that is; see Of.
	key(record any) (key, pointer string)
	// read makes a record of what a file has of it, as far as it can be read.
	read(ctx context.Context, format string, p piece) (any, error)
	// put stores records; see Of.
	put(ctx context.Context, tx pgx.Tx, records []any) ([]Result, func(context.Context), error)
	// take writes records after a place to out; see From.
	take(ctx context.Context, who *identity.Principal, format string, header []string, after string, out *writer) (last string, err error)
	columns(ctx context.Context, who *identity.Principal, format string) ([]string, error)
}

type about struct {
	name, readScope, writeScope string
	sheets                      map[string]sheet
}

// sheet is what is to know of a CSV before its rows are read.
type sheet struct {
	group    string
	required []string
	known    func(column string) bool
	writes   bool
}

// Of is a Kind of Ts, which as JSON are the lines of JSON Lines.
type Of[T any] struct {
	Name string
	// ReadScope and WriteScope are what a caller needs to take out and bring in.
	ReadScope, WriteScope string
	// Key is what a record is known by, and what of it that is, such as "/slug": a
	// file has each key once. "" for none.
	Key func(record T) (key, pointer string)
	// Put stores records and says of each, in their order, what became of it,
	// without an error where it is a record that is wrong. The function is called
	// after the commit. Nil, with WriteScope "", for what can not be brought in.
	Put func(ctx context.Context, tx pgx.Tx, records []T) ([]Result, func(context.Context), error)
	// From reads records after a place, in order, of so many things; last is the
	// place of the last, or "" where nothing is behind it. The first place is "".
	From func(ctx context.Context, after string, most int32) (records []T, last string, err error)
	// Private is what of a record not everybody with ReadScope takes out; nil for nothing.
	Private *Private[T]
	// Sheets are its forms as CSV, by the name of the format.
	Sheets map[string]Sheet[T]
}

// Private is a part of records.
type Private[T any] struct {
	// Scope is what it takes to have it, beside the kind's ReadScope.
	Scope string
	// Without is a record without it; it may change the one that it is given.
	Without func(record T) T
	// Column reports whether a column of a CSV has it.
	Column func(name string) bool
}

// Sheet is a form of records as CSV.
type Sheet[T any] struct {
	// Group is the column by which rows belong together: those with the same
	// value, one after another, are one record. Empty where each row is one.
	Group string
	// Required are columns that a file must have.
	Required []string
	// Known reports whether a column means something; nil where columns that mean
	// nothing are passed over.
	Known func(column string) bool
	// Read makes a record of its rows.
	Read func(ctx context.Context, rows []Row) (T, error)
	// Columns are what is written; nil for a form that is only read.
	Columns func(ctx context.Context) ([]string, error)
	// Rows are a record's.
	Rows func(record T) []map[string]string
}

// Transfers are a store's imports and exports.
type Transfers struct {
	pool  *pgxpool.Pool
	kinds map[string]Kind
	now   func() time.Time
}

// New makes the imports and exports of kinds.
func New(pool *pgxpool.Pool, now func() time.Time, kinds ...Kind) *Transfers {
	t := &Transfers{pool: pool, kinds: map[string]Kind{}, now: now}
	for _, k := range kinds {
		t.kinds[k.about().name] = k
	}
	return t
}
