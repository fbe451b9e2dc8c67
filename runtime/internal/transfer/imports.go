package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer/transferdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// atOnce is how many records are stored in one transaction.
	atOnce = 100
	// patience is for how long a part is worked at; what is left of it comes
	// again. It is less than a request may take.
	patience = 3 * time.Second
	// MaxPart is the most of a file that comes at once, in bytes.
	MaxPart = 1 << 20
	// maxRefusals is how many refused records of an import are kept with why.
	maxRefusals = 1000
	// maxErrors is how much is kept of what is wrong with one.
	maxErrors = 20
	// keepFor is for how long an import is remembered after its last part.
	keepFor = 30 * 24 * time.Hour
	// keysAtOnce is how many keys are forgotten in one statement.
	keysAtOnce = 10_000
)

// begin stores a new import of who may write its kind.
func (t *Transfers) begin(ctx context.Context, tx pgx.Tx, who *identity.Principal, in openapi.ImportInput) (openapi.Import, error) {
	if _, err := t.kind(who, string(in.Kind), string(in.Format), true); err != nil {
		return openapi.Import{}, err
	}
	row := transferdb.InsertImportParams{
		ID: uuid.Must(uuid.NewV7()), Kind: string(in.Kind), Format: string(in.Format), DryRun: in.DryRun != nil && *in.DryRun, Actor: who.Actor(),
		At: t.now().Truncate(time.Microsecond),
	}
	if err := transferdb.New(tx).InsertImport(ctx, row); err != nil {
		return openapi.Import{}, fmt.Errorf("storing an import: %w", err)
	}
	return shown(transferdb.Import{
		ID: row.ID, Kind: row.Kind, Format: row.Format, DryRun: row.DryRun, Actor: row.Actor, CreatedAt: row.At, UpdatedAt: row.At,
	}), nil
}

// kind is that of a name, for who may bring it in or take it out in a format.
func (t *Transfers) kind(who *identity.Principal, name, format string, in bool) (Kind, error) {
	var f problem.Findings
	k, ok := t.kinds[name]
	f.Require(ok, "/kind", "must be one of %s", strings.Join(slices.Sorted(maps.Keys(t.kinds)), ", "))
	scope := ""
	if ok {
		a := k.about()
		if scope = a.readScope; in {
			scope = a.writeScope
		}
		s, isSheet := a.sheets[format]
		ok = format == formatLines || isSheet && (in || s.writes)
		f.Require(!in || scope != "", "/kind", "%s can only be taken out", name)
	}
	pointer := "/format"
	if !in {
		pointer = "format"
	}
	f.Require(ok, pointer, "is none of %s", name)
	if err := f.Err(); err != nil {
		return nil, err
	}
	if !who.Can(scope) {
		return nil, problem.New(http.StatusForbidden, "forbidden", "It needs the scope %s.", scope)
	}
	return k, nil
}

// find reads an import of who may write its kind; for others there is none.
func (t *Transfers) find(ctx context.Context, who *identity.Principal, id uuid.UUID) (transferdb.Import, Kind, error) {
	row, err := transferdb.New(t.pool).ImportByID(ctx, id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return row, nil, fmt.Errorf("reading an import: %w", err)
	}
	if err == nil {
		if k, err := t.kind(who, row.Kind, row.Format, true); err == nil {
			return row, k, nil
		}
	}
	return row, nil, problem.New(http.StatusNotFound, "import_not_found", "No import of yours has the id %s.", id)
}

// proceed takes the next part of an import's file, which begins at an offset,
// and returns how far the import has come then: records are stored a hundred at
// a time, and what is not stored within some seconds is to come again. Last says
// that nothing comes after the part.
func (t *Transfers) proceed(ctx context.Context, who *identity.Principal, id uuid.UUID, offset int64, data []byte, last bool) (openapi.Import, error) {
	row, kind, err := t.find(ctx, who, id)
	if err == nil {
		err = at(row, offset)
	}
	if err != nil {
		return openapi.Import{}, err
	}
	todo, err := cut(row, kind, data, last)
	if err != nil {
		return openapi.Import{}, err
	}
	for begun := time.Now(); ; {
		step := todo.next(row.Received)
		if row, err = t.step(ctx, kind, row, step); err != nil {
			return openapi.Import{}, err
		}
		if len(todo.pieces) == 0 || time.Since(begun) > patience {
			return shown(row), nil
		}
	}
}

// at refuses a part that does not begin where the import is.
func at(row transferdb.Import, offset int64) error {
	switch {
	case row.Done:
		return problem.New(http.StatusConflict, "import_done", "The import has ended.")
	case row.Received != offset:
		return problem.New(http.StatusConflict, "offset_mismatch", "The import goes on at byte %d.", row.Received)
	}
	return nil
}

// part is what a part of a file holds.
type part struct {
	// base is where in the file it begins, and rows which of its rows is its first.
	base, rows int64
	header     []string
	// headed is where the header ends, 0 where it came before.
	headed int64
	pieces []piece
	last   bool
}

func cut(row transferdb.Import, kind Kind, data []byte, last bool) (*part, error) {
	p := &part{base: row.Received, rows: row.Rows, header: row.Header, last: last}
	if row.Format == formatLines {
		begin := 0
		if row.Received == 0 {
			var err error
			if begin, err = beginning(data); err != nil {
				return nil, err
			}
		}
		p.pieces = cutLines(data[begin:], last)
		for i := range p.pieces {
			p.pieces[i].end += int64(begin)
		}
	} else {
		s := kind.about().sheets[row.Format]
		if row.Received == 0 {
			var ok bool
			var err error
			if p.header, p.headed, ok, err = cutHeader(data, last, s); err != nil {
				return nil, err
			}
			if ok {
				p.rows++
			}
		}
		if p.header != nil {
			p.pieces = cutRows(data[p.headed:], p.header, s, last)
			for i := range p.pieces {
				p.pieces[i].end += p.headed
			}
		}
	}
	if len(p.pieces) == 0 && p.headed == 0 && !last && len(data) >= MaxPart {
		return nil, problem.New(http.StatusUnprocessableEntity, "record_too_long",
			"From byte %d on is no end of a record within %d bytes: is a quote missing?", row.Received, MaxPart)
	}
	return p, nil
}

// step is what is done in one transaction.
type step struct {
	from, to int64 // bytes of the file
	rows     int64 // of which are these many rows
	first    int64 // the first of them
	header   []string
	pieces   []piece
	done     bool
}

// next takes the next records off the part.
func (p *part) next(from int64) step {
	n := min(atOnce, len(p.pieces))
	s := step{from: from, to: max(from, p.base+p.headed), first: p.rows, header: p.header, pieces: p.pieces[:n]}
	if from == p.base && p.headed > 0 {
		s.rows = 1
	}
	if n > 0 {
		s.to = p.base + p.pieces[n-1].end
	}
	for _, one := range s.pieces {
		s.rows += one.rows
	}
	p.pieces = p.pieces[n:]
	s.done = p.last && len(p.pieces) == 0
	return s
}

// errDry undoes what a dry run did.
var errDry = errors.New("a dry run")

// step stores some records and how far the import has come.
func (t *Transfers) step(ctx context.Context, kind Kind, was transferdb.Import, s step) (row transferdb.Import, err error) {
	b, err := s.read(ctx, kind, was.Format) // before it holds a connection, for that may take another
	if err != nil {
		return row, err
	}
	after := func(context.Context) {}
	err = db.WithTx(ctx, t.pool, func(tx pgx.Tx) error {
		q := transferdb.New(tx)
		now, err := q.LockImport(ctx, was.ID)
		if err != nil {
			return fmt.Errorf("locking an import: %w", err)
		}
		if err := at(now, s.from); err != nil {
			return err
		}
		if row = now; s.from == s.to && !s.done {
			return nil
		}
		// A plan that was made while there was little is not one for the end of a long file.
		if _, err := tx.Exec(ctx, "SET LOCAL plan_cache_mode = force_custom_plan"); err != nil {
			return fmt.Errorf("storing records: %w", err)
		}
		if err := b.once(ctx, q, kind, was.ID, s.first); err != nil {
			return err
		}
		results, done, err := t.put(ctx, tx, kind, was.DryRun, b.records)
		if err != nil {
			return err
		}
		after = done
		moved := transferdb.MoveImportParams{
			ID: was.ID, Header: s.header, Received: s.to, Rows: s.rows, Done: s.done, At: t.now().Truncate(time.Microsecond),
		}
		for i, r := range results {
			switch {
			case r.Err != nil:
				if err := b.refuse(s.first+b.of[i].row, r.Err); err != nil {
					return err
				}
			case r.Outcome == Created:
				moved.Created++
			case r.Outcome == Updated:
				moved.Updated++
			default:
				moved.Unchanged++
			}
		}
		moved.Refused = int64(len(b.refused.Rows))
		if room := max(0, maxRefusals-now.Refused); room > 0 && moved.Refused > 0 {
			if err := q.InsertRefusals(ctx, b.most(was.ID, int(min(room, moved.Refused)))); err != nil {
				return fmt.Errorf("storing refusals: %w", err)
			}
		}
		if row, err = q.MoveImport(ctx, moved); err != nil {
			return fmt.Errorf("storing an import: %w", err)
		}
		return nil
	})
	if err == nil {
		after(ctx)
	}
	return row, err
}

// read are the records of a step, and what can not be one.
type read struct {
	records []any
	of      []piece
	refused transferdb.InsertRefusalsParams
	// unread are those that could be read in part, and unreadOf their pieces: what
	// comes of them later is not the whole of them.
	unread   []any
	unreadOf []piece
}

func (s *step) read(ctx context.Context, kind Kind, format string) (b read, err error) {
	for _, p := range s.pieces {
		if p.err == nil && p.sheet == nil && len(p.line) == 0 {
			continue // an empty line
		}
		r, err := kind.read(ctx, format, p)
		row := s.first + p.row
		if p.err != nil {
			err, row = p.err, s.first+p.wrong
		}
		if err == nil {
			b.records, b.of = append(b.records, r), append(b.of, p)
			continue
		}
		if r != nil {
			b.unread, b.unreadOf = append(b.unread, r), append(b.unreadOf, p)
		}
		if err := b.refuse(row, err); err != nil {
			return b, err
		}
	}
	return b, nil
}

// once refuses the records of which the import has had one before, however far
// that is: the later one would take the place of the first, or of a part of it.
func (b *read) once(ctx context.Context, q *transferdb.Queries, kind Kind, id uuid.UUID, first int64) error {
	claim := transferdb.ClaimKeysParams{ImportID: id}
	had := map[uuid.UUID]int64{}
	note := func(records []any, of []piece) {
		for i, r := range records {
			hash, _ := hashed(kind, id, r)
			if row, there := had[hash]; hash != uuid.Nil && (!there || first+of[i].row < row) {
				had[hash] = first + of[i].row
			}
		}
	}
	note(b.records, b.of)
	note(b.unread, b.unreadOf)
	if len(had) == 0 {
		return nil
	}
	for hash, row := range had {
		claim.Hashes, claim.Rows = append(claim.Hashes, hash), append(claim.Rows, row+1)
	}
	before, err := q.ClaimKeys(ctx, claim)
	if err != nil {
		return fmt.Errorf("keeping what records are known by: %w", err)
	}
	for _, k := range before {
		had[k.Hash] = k.Row - 1
	}
	records, of := b.records[:0:0], b.of[:0:0]
	for i, r := range b.records {
		hash, field := hashed(kind, id, r)
		if row := first + b.of[i].row; hash != uuid.Nil && had[hash] != row {
			field.Detail = fmt.Sprintf("%.100q is that of row %d, too: the rows of one stand one after another, and a file has each once", field.Detail, had[hash]+1)
			if err := b.refuse(row, problem.Invalid(field)); err != nil {
				return err
			}
			continue
		}
		records, of = append(records, r), append(of, b.of[i])
	}
	b.records, b.of = records, of
	return nil
}

// hashed is what a record of an import is known by, uuid.Nil where that is
// nothing, and as it is in the record.
func hashed(kind Kind, id uuid.UUID, record any) (hash uuid.UUID, as problem.Field) {
	key, pointer := kind.key(record)
	if key == "" {
		return uuid.Nil, as
	}
	sum := sha256.Sum256([]byte(id.String() + key))
	copy(hash[:], sum[:])
	return hash, problem.Field{Pointer: pointer, Detail: strings.TrimSpace(key)}
}

// refuse notes why the record of a row is not taken. Its error is one that is
// not about the record.
func (b *read) refuse(row int64, why error) error {
	p, ok := why.(*problem.Problem) //nolint:errorlint // what is wrapped is an error of more than the record
	if !ok {
		return why
	}
	errs := p.Errors
	if errs == nil {
		errs = []problem.Field{}
	}
	encoded, err := json.Marshal(errs[:min(len(errs), maxErrors)])
	r := &b.refused
	r.Rows, r.Codes, r.Details, r.Errors = append(r.Rows, row+1), append(r.Codes, p.Code), append(r.Details, p.Detail), append(r.Errors, string(encoded))
	return err
}

// most are the first refusals.
func (b *read) most(id uuid.UUID, n int) transferdb.InsertRefusalsParams {
	r := b.refused
	return transferdb.InsertRefusalsParams{ImportID: id, Rows: r.Rows[:n], Codes: r.Codes[:n], Details: r.Details[:n], Errors: r.Errors[:n]}
}

// put stores records, or for a dry run finds out what would become of them.
func (t *Transfers) put(ctx context.Context, tx pgx.Tx, kind Kind, dry bool, records []any) (results []Result, after func(context.Context), err error) {
	after = func(context.Context) {}
	if len(records) == 0 {
		return nil, after, nil
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		var done func(context.Context)
		if results, done, err = kind.put(ctx, tx, records); err != nil {
			return err
		}
		if dry {
			return errDry
		}
		if done != nil {
			after = done
		}
		return nil
	})
	if errors.Is(err, errDry) {
		err = nil
	}
	return results, after, err
}

func shown(r transferdb.Import) openapi.Import {
	state := openapi.ImportStateOpen
	if r.Done {
		state = openapi.ImportStateDone
	}
	return openapi.Import{
		Id: r.ID, Kind: openapi.TransferKind(r.Kind), Format: openapi.TransferFormat(r.Format), DryRun: r.DryRun, Actor: r.Actor, State: state,
		Offset: r.Received, Rows: r.Rows, Created: r.Created, Updated: r.Updated, Unchanged: r.Unchanged, Refused: r.Refused,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// Forget removes imports that nobody went on with for long, and returns how many;
// and what the records of those that have ended were known by.
func (t *Transfers) Forget(ctx context.Context) (int64, error) {
	n, err := transferdb.New(t.pool).ForgetImports(ctx, t.now().Add(-keepFor))
	if err != nil {
		return 0, fmt.Errorf("forgetting imports: %w", err)
	}
	for {
		keys, err := transferdb.New(t.pool).ForgetKeys(ctx, keysAtOnce)
		if err != nil {
			return n, fmt.Errorf("forgetting imports: %w", err)
		}
		if keys < keysAtOnce {
			return n, nil
		}
	}
}
