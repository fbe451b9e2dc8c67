package transfer

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// piece is what a part of a file has of one record.
type piece struct {
	// row is the first of its rows, counted from the part's first, which is 0;
	// rows are how many there are.
	row, rows int64
	// end is where in the part the record ends.
	end int64
	// line is that of JSON Lines, sheet the rows of a CSV.
	line  []byte
	sheet []Row
	// err is why it can not be read, and wrong which of its rows is why, counted as
	// row is.
	err   error
	wrong int64
}

// Row is one of a CSV.
type Row struct {
	columns map[string]int
	cells   []string
}

// Get is the cell of a column, "" where there is none. What was written so that
// no program takes it for a formula is as it was before.
func (r Row) Get(column string) string {
	i, ok := r.columns[column]
	if !ok || i >= len(r.cells) {
		return ""
	}
	return fused(r.cells[i])
}

// Columns are the names of the row's columns.
func (r Row) Columns() []string {
	names := make([]string, 0, len(r.columns))
	for name := range r.columns {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// formula is what begins a cell that a spreadsheet takes for a formula.
const formula = "=+-@\t\r"

// Defused is a text as a cell that no spreadsheet takes for a formula; Get takes
// it back.
func Defused(s string) string {
	if rest := strings.TrimLeft(s, "'"); rest != "" && strings.IndexByte(formula, rest[0]) >= 0 {
		return "'" + s
	}
	return s
}

func fused(s string) string {
	if rest := strings.TrimLeft(s, "'"); len(rest) < len(s) && rest != "" && strings.IndexByte(formula, rest[0]) >= 0 {
		return s[1:]
	}
	return s
}

// cutLines finds the whole lines of a part of a file of JSON Lines; last is
// whether nothing comes after it.
func cutLines(data []byte, last bool) (pieces []piece) {
	row := int64(0)
	for at := 0; at < len(data); row++ {
		line, rest := data[at:], 0
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, rest = line[:i], 1
		} else if !last {
			break
		}
		at += len(line) + rest
		pieces = append(pieces, piece{row: row, rows: 1, end: int64(at), line: bytes.TrimSpace(line)})
	}
	return pieces
}

var bom = []byte("\xef\xbb\xbf")

// beginning is how many bytes before the first record of a file only say how it
// is written, or a refusal of what is not UTF-8.
func beginning(data []byte) (int, error) {
	for _, other := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(data, []byte(other)) {
			return 0, problem.Invalid(problem.Field{Pointer: "row 1", Detail: "is UTF-16: save the file as UTF-8"})
		}
	}
	if bytes.HasPrefix(data, bom) {
		return len(bom), nil
	}
	return 0, nil
}

// cutHeader reads the names of a CSV's columns, and where they end; ok is false
// where they are not all there.
func cutHeader(data []byte, last bool, s sheet) (header []string, end int64, ok bool, err error) {
	begin, err := beginning(data)
	if err != nil {
		return nil, 0, false, err
	}
	r := reader(data[begin:])
	names, err := r.Read()
	end = int64(begin) + r.InputOffset()
	if err != nil || !last && !whole(data, end) {
		if err != nil && (last || end < int64(len(data))) {
			return nil, 0, false, problem.Invalid(problem.Field{Pointer: "row 1", Detail: "does not name the columns of a CSV"})
		}
		return nil, 0, false, nil
	}
	header = make([]string, len(names)) // the reader's are its own
	var f problem.Findings
	for i, name := range names {
		if !utf8.ValidString(name) {
			return nil, 0, false, problem.Invalid(problem.Field{Pointer: "row 1", Detail: "is not UTF-8: save the file as that"})
		}
		header[i] = strings.TrimSpace(name)
		f.Require(header[i] == "" || !slices.Contains(header[:i], header[i]), "row 1", "has the column %.100q twice", header[i])
		f.Require(header[i] == "" || s.known == nil || s.known(header[i]), "row 1", "has the column %.100q, which means nothing here", header[i])
	}
	for _, name := range s.required {
		f.Require(slices.Contains(header, name), "row 1", "lacks the column %q", name)
	}
	return header, end, true, f.Err()
}

func reader(data []byte) *csv.Reader {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	return r
}

func whole(data []byte, end int64) bool {
	return end > 0 && end <= int64(len(data)) && data[end-1] == '\n'
}

// cutRows finds the whole records of a part of a CSV.
func cutRows(data []byte, header []string, s sheet, last bool) (pieces []piece) {
	columns := make(map[string]int, len(header))
	for i, name := range header {
		if name != "" {
			columns[name] = i
		}
	}
	r := reader(data)
	var open *piece
	group := ""
	flush := func() {
		if open != nil {
			pieces = append(pieces, *open)
			open = nil
		}
	}
	for row := int64(0); ; row++ {
		cells, err := r.Read()
		end := r.InputOffset()
		if errors.Is(err, io.EOF) {
			break
		}
		if !last && (!whole(data, end) || err != nil && end == int64(len(data))) { // more of it is still to come, perhaps
			return pieces
		}
		if err != nil {
			flush()
			pieces = append(pieces, piece{row: row, rows: 1, end: end, err: unread("is not a row of a CSV: %v", err), wrong: row})
			continue
		}
		err = fits(header, cells)
		one := Row{columns, cells}
		if name := one.Get(s.group); s.group != "" && open != nil && name != "" && name == group {
			open.sheet = append(open.sheet, one)
			open.rows, open.end = open.rows+1, end
			if open.err == nil && err != nil { // without the row it is not the whole record
				open.err, open.wrong = err, row
			}
			continue
		}
		flush()
		open, group = &piece{row: row, rows: 1, end: end, sheet: []Row{one}, err: err, wrong: row}, one.Get(s.group)
		if s.group == "" {
			flush()
		}
	}
	if last {
		flush()
	}
	return pieces
}

// fits refuses cells that the columns can not be told of, by a *problem.Problem.
// Empty ones behind the last column are none.
func fits(header, cells []string) error {
	if slices.ContainsFunc(cells, func(cell string) bool { return !utf8.ValidString(cell) }) {
		return unread("is not a row of a CSV: it is not UTF-8")
	}
	if len(cells) > len(header) && slices.ContainsFunc(cells[len(header):], func(cell string) bool { return cell != "" }) {
		return unread("has %d cells under %d columns: is a comma in one of them, and the cell not in quotes?", len(cells), len(header))
	}
	return nil
}

func unread(format string, args ...any) error {
	return problem.Invalid(problem.Field{Detail: fmt.Sprintf(format, args...)})
}
