package transfer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

const (
	// page is how many records are read at once, and maxPage how many bytes an
	// answer has before it ends with the last record that was begun.
	page    = 50
	maxPage = 1 << 20
)

// writer takes what is exported.
type writer struct {
	buffer bytes.Buffer
	sheet  *csv.Writer
}

func (w *writer) line(b []byte) {
	w.buffer.Write(b)
	w.buffer.WriteByte('\n')
}

// row writes the cells of columns.
func (w *writer) row(columns []string, cells map[string]string) {
	record := make([]string, len(columns))
	for i, name := range columns {
		record[i] = cells[name]
	}
	w.cells(record)
}

// cells writes a row that ends as in RFC 4180; UseCRLF of the csv.Writer would
// also change what is in cells.
func (w *writer) cells(record []string) {
	_ = w.sheet.Write(record) // a buffer takes everything
	w.sheet.Flush()
	w.buffer.Truncate(w.buffer.Len() - 1)
	w.buffer.WriteString("\r\n")
}

// place is where an export goes on.
type place struct {
	After   string   `json:"after"`
	Columns []string `json:"columns,omitempty"`
	Kind    string   `json:"kind"`
	Format  string   `json:"format"`
}

// Place is the id by which a Kind says where it goes on; "" is uuid.Nil.
func Place(after string) (id uuid.UUID, err error) {
	if after == "" {
		return uuid.Nil, nil
	}
	if id, err = uuid.Parse(after); err != nil {
		err = problem.Invalid(problem.Field{Pointer: "cursor", Detail: "is not one of this export"})
	}
	return id, err
}

// export writes records after a cursor, in the order in which they were made; next
// is the cursor of those after them, empty where there are none. The first part
// of a CSV names its columns, and they are those of all parts.
func (t *Transfers) export(ctx context.Context, who *identity.Principal, kindName, format, cursor string) (body []byte, next string, err error) {
	kind, err := t.kind(who, kindName, format, false)
	if err != nil {
		return nil, "", err
	}
	at := place{Kind: kindName, Format: format}
	w := &writer{}
	w.sheet = csv.NewWriter(&w.buffer)
	if cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		if err == nil {
			err = json.Unmarshal(raw, &at)
		}
		if err != nil || at.Kind != kindName || at.Format != format {
			return nil, "", problem.Invalid(problem.Field{Pointer: "cursor", Detail: "is not one of this export"})
		}
	} else {
		if at.Columns, err = kind.columns(ctx, who, format); err != nil {
			return nil, "", err
		}
		if at.Columns != nil {
			w.cells(at.Columns)
		}
	}
	for w.buffer.Len() < maxPage {
		if at.After, err = kind.take(ctx, who, format, at.Columns, at.After, w); err != nil {
			return nil, "", err
		}
		if at.After == "" {
			return w.buffer.Bytes(), "", nil
		}
	}
	raw, err := json.Marshal(at)
	return w.buffer.Bytes(), base64.RawURLEncoding.EncodeToString(raw), err
}
