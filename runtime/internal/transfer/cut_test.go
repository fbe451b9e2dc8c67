package transfer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var grouped = sheet{group: "name"}

// told are records as texts.
func told(pieces []piece) (all []string) {
	for _, p := range pieces {
		one := string(p.line)
		for _, r := range p.sheet {
			one += strings.Join(r.cells, ",") + ";"
		}
		if p.err != nil {
			one = "not read"
		}
		all = append(all, fmt.Sprintf("%d+%d %s", p.row, p.rows, one))
	}
	return all
}

func TestRowsOfOneGroupAreOneRecordAndTheLastWaitsForMore(t *testing.T) {
	t.Parallel()
	header := []string{"name", "size"}
	data := []byte("a,1\na,2\nb,\"3\n4\"\nc,5\n")
	if got, want := told(cutRows(data, header, grouped, false)), []string{"0+2 a,1;a,2;", "2+1 b,3\n4;"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got, want := told(cutRows(data, header, grouped, true)), []string{"0+2 a,1;a,2;", "2+1 b,3\n4;", "3+1 c,5;"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := told(cutRows([]byte("a,\"1\n2"), header, sheet{}, false)); got != nil {
		t.Errorf("half a row is %q", got)
	}
	if got, want := told(cutRows([]byte("a\"b,1\n\xff,2\nc,3\n"), header, sheet{}, false)), []string{"0+1 not read", "1+1 not read", "2+1 c,3;"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestTheFirstRowNamesTheColumns(t *testing.T) {
	t.Parallel()
	s := sheet{required: []string{"name"}, known: func(c string) bool { return c == "name" || c == "size" }}
	header, end, ok, err := cutHeader([]byte("\xef\xbb\xbfname , size,\r\na,1\n"), false, s)
	if want := []string{"name", "size", ""}; !slices.Equal(header, want) || end != 17 || !ok || err != nil {
		t.Errorf("got %q, %d, %t, %v", header, end, ok, err)
	}
	if _, _, ok, err := cutHeader([]byte("name,si"), false, s); ok || err != nil {
		t.Errorf("half a row: %t, %v", ok, err)
	}
	for _, bad := range []string{"size\n", "name,colour\n", "name,name\n", "\"name\n", ""} {
		if _, _, _, err := cutHeader([]byte(bad), true, s); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestNoCellIsAFormulaAndAllAreReadAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"=SUM(A1)", "+1", "-1", "@x", "\tx", "'=1", "''=1", "it's", "'", "", "plain", "'quoted'"} {
		cell := Defused(text)
		if cell != "" && strings.ContainsRune(formula, rune(cell[0])) {
			t.Errorf("%q is written %q", text, cell)
		}
		if read := fused(cell); read != text {
			t.Errorf("%q is written %q and read %q", text, cell, read)
		}
	}
}

// FuzzRecordsDoNotDependOnTheParts cuts a file in two, and goes on where the first
// part left off.
func FuzzRecordsDoNotDependOnTheParts(f *testing.F) {
	f.Add([]byte("a,1\na,2\nb,\"3\n4\"\n\nc,5"), 9)
	f.Add([]byte("{}\n\n{\"a\":1}\n"), 4)
	f.Add([]byte("a,\"1\r\nb,2\r\n\"\"c\r\n"), 6)
	f.Add([]byte("\"a\"x,1\n\xffb,2\n"), 5)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		if at < 0 || at > len(data) {
			return
		}
		for name, cut := range map[string]func(data []byte, last bool) []piece{
			"lines":   cutLines,
			"rows":    func(data []byte, last bool) []piece { return cutRows(data, []string{"name", "size"}, sheet{}, last) },
			"grouped": func(data []byte, last bool) []piece { return cutRows(data, []string{"name", "size"}, grouped, last) },
		} {
			whole := cut(data, true)
			first := cut(data[:at], false)
			end, rows := int64(0), int64(0)
			if n := len(first); n > 0 {
				end, rows = first[n-1].end, first[n-1].row+first[n-1].rows
			}
			rest := cut(data[end:], true)
			for i := range rest {
				rest[i].row += rows
			}
			if got, want := told(append(first, rest...)), told(whole); !slices.Equal(got, want) {
				t.Errorf("%s: in parts %q, whole %q", name, got, want)
			}
		}
	})
}
