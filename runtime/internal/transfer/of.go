package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
)

// Formats that are no Sheet's.
const formatLines = "jsonl"

func (o Of[T]) about() about {
	a := about{name: o.Name, readScope: o.ReadScope, writeScope: o.WriteScope, sheets: map[string]sheet{}}
	for name, s := range o.Sheets {
		a.sheets[name] = sheet{group: s.Group, required: s.Required, known: s.Known, writes: s.Columns != nil}
	}
	return a
}

func (o Of[T]) read(ctx context.Context, format string, p piece) (record any, err error) {
	switch {
	case format != formatLines && p.sheet == nil:
		return nil, p.err
	case format != formatLines:
		return o.Sheets[format].Read(ctx, p.sheet)
	}
	var r T
	err = strictjson.Unmarshal(p.line, &r)
	return r, err
}

func (o Of[T]) key(record any) (key, pointer string) {
	if o.Key == nil {
		return "", ""
	}
	return o.Key(record.(T))
}

func (o Of[T]) put(ctx context.Context, tx pgx.Tx, records []any) ([]Result, func(context.Context), error) {
	all := make([]T, len(records))
	for i, r := range records {
		all[i] = r.(T)
	}
	results, after, err := o.Put(ctx, tx, all)
	if err == nil && len(results) != len(all) {
		err = fmt.Errorf("of %d %s came %d results", len(all), o.Name, len(results))
	}
	return results, after, err
}

func (o Of[T]) columns(ctx context.Context, who *identity.Principal, format string) ([]string, error) {
	if format == formatLines {
		return nil, nil
	}
	all, err := o.Sheets[format].Columns(ctx)
	if err != nil || o.hasAll(who) {
		return all, err
	}
	return slices.DeleteFunc(slices.Clone(all), o.Private.Column), nil
}

// hasAll reports whether who has what is private of records, too.
func (o Of[T]) hasAll(who *identity.Principal) bool {
	return o.Private == nil || who.Can(o.Private.Scope)
}

func (o Of[T]) take(ctx context.Context, who *identity.Principal, format string, header []string, after string, out *writer) (last string, err error) {
	records, last, err := o.From(ctx, after, page)
	if err != nil {
		return last, fmt.Errorf("reading %s: %w", o.Name, err)
	}
	all := o.hasAll(who)
	for _, r := range records {
		if !all {
			r = o.Private.Without(r)
		}
		if format == formatLines {
			line, err := json.Marshal(r)
			if err != nil {
				return last, err
			}
			out.line(line)
			continue
		}
		for _, row := range o.Sheets[format].Rows(r) {
			out.row(header, row)
		}
	}
	return last, nil
}
