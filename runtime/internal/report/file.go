package report

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// part ends the names of files that are not whole; they begin with a dot.
const part = ".part"

// openNew makes a file that those of the folder's group may read.
func openNew(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640) //nolint:gosec // the folder is the configuration's
}

// write makes the file of a name whole at once, in place of one that is there,
// and returns how many rows fill wrote. When it fails it leaves nothing.
func (r *Reports) write(name string, fill func(*sheet) error) (rows int, err error) {
	r.tidy()
	unfinished := filepath.Join(r.dir, "."+name+"."+rand.Text()+part)
	f, err := r.open(unfinished)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = f.Close() // it is closed already where all went well
		if err != nil {
			_ = os.Remove(unfinished) // or tidy will
		}
	}()
	buffer := bufio.NewWriterSize(f, 64<<10)
	w := &sheet{csv: csv.NewWriter(buffer)}
	w.csv.UseCRLF = true // RFC 4180
	if err := fill(w); err != nil {
		return 0, err
	}
	w.csv.Flush()
	if err := cmp.Or(w.csv.Error(), buffer.Flush(), f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(unfinished, filepath.Join(r.dir, name)); err != nil {
		return 0, err
	}
	return w.rows, syncFolder(r.dir)
}

// syncFolder makes a rename in it outlast a crash.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tidy removes what processes left that were killed while they wrote.
func (r *Reports) tidy() {
	left, _ := filepath.Glob(filepath.Join(r.dir, ".*"+part)) // the pattern is a good one
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > 2*timeout {
			_ = os.Remove(path) // or the next report will
		}
	}
}

// sheet is the CSV of a report: RFC 4180, in UTF-8.
type sheet struct {
	csv  *csv.Writer
	rows int
}

// cell is what can be in a sheet.
type cell string

// text is what people wrote: a program that opens the sheet must not take it
// for a formula.
func text(s string) cell {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		s = "'" + s
	}
	return cell(s)
}

// header names the columns. What is wrong with the file, the next row says.
func (w *sheet) header(names ...string) { _ = w.csv.Write(names) }

func (w *sheet) row(cells ...cell) error {
	record := make([]string, len(cells))
	for i, c := range cells {
		record[i] = string(c)
	}
	w.rows++
	return w.csv.Write(record)
}
