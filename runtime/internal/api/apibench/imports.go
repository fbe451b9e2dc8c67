package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// imported is how many products are brought in, each of two variants.
const imported = 100_000

// imports measures how long products take to come in by a CSV, anew and again,
// and to go out, and what the server needs for it; and beside it how long
// PostgreSQL takes to store the same rows in tables with the same indexes.
func (b *bench) imports(ctx context.Context) error {
	store, err := b.store(ctx, "import", 0)
	if err != nil {
		return err
	}
	server, err := store.serve(ctx, false)
	if err != nil {
		return err
	}
	defer server.stop()
	file := sheet(imported)
	idle, err := server.peak()
	if err != nil {
		return err
	}
	begun := time.Now()
	first, err := server.bring(ctx, file)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	peak, err := server.peak()
	if err != nil {
		return err
	}
	begun = time.Now()
	again, err := server.bring(ctx, file)
	if err != nil {
		return err
	}
	tookAgain := time.Since(begun)
	if first.Created != imported || again.Unchanged != imported {
		return fmt.Errorf("of %d products came in %+v and then %+v", imported, first, again)
	}
	begun = time.Now()
	written, err := server.out(ctx)
	if err != nil {
		return err
	}
	tookOut := time.Since(begun)
	floor, err := store.copied(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d products of 2 variants, a CSV of %.1f MiB:\n", imported, float64(len(file))/(1<<20))
	fmt.Printf("%-40s %8.1f s\n%-40s %8.1f s\n%-40s %8.1f s, %.1f MiB\n%-40s %8.1f s\n%-40s %8.0f MiB, %.0f before\n",
		"brought in", took.Seconds(), "brought in again, unchanged", tookAgain.Seconds(), "taken out", tookOut.Seconds(), float64(written)/(1<<20),
		"the same rows, copied by PostgreSQL", floor.Seconds(), "the server's memory at its most", float64(peak)/(1<<20), float64(idle)/(1<<20))
	line, err := json.Marshal(map[string]any{
		"name": "import", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"products": imported, "seconds": round(took.Seconds()), "seconds_again": round(tookAgain.Seconds()), "seconds_out": round(tookOut.Seconds()),
		"vs_copy": round(took.Seconds() / floor.Seconds()), "peak_mib": round(float64(peak) / (1 << 20)),
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", line)
	return nil
}

// sheet is a CSV of products.
func sheet(products int) []byte {
	var b bytes.Buffer
	b.WriteString("slug,title,description,type,status,tags,attributes,images,option1Name,sku,option1Value,price EUR,weightGrams\n")
	for i := range products {
		fmt.Fprintf(&b, "article-%d,Article number %d,A description of some words that says what article %d is like.,variable,active,\"tag %d\nsale\",Material: cotton,https://img.example/%d.jpg,Size,ART-%d-S,S,%d.99,%d\n",
			i, i, i, i%50, i, i, 5+i%90, 100+i%900)
		fmt.Fprintf(&b, "article-%d,,,,,,,,,ART-%d-L,L,%d.99,%d\n", i, i, 6+i%90, 110+i%900)
	}
	return b.Bytes()
}

// ask sends a request, and returns the answer's body and where its Link leads.
func (s *server) ask(ctx context.Context, method, path string, body []byte, header map[string]string) (text []byte, next string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("Authorization", "Bearer "+adminKey)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s answers %s: %.300s", method, path, resp.Status, text)
	}
	next, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	return text, next, err
}

// bring sends a whole file, in parts of the most that is taken.
func (s *server) bring(ctx context.Context, file []byte) (i openapi.Import, err error) {
	decode := func(text []byte, _ string, err error) error {
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &i)
	}
	if err := decode(s.ask(ctx, "POST", "/api/v1/imports", []byte(`{"kind":"products","format":"csv"}`), map[string]string{"Content-Type": "application/json"})); err != nil {
		return i, err
	}
	for i.State == openapi.ImportStateOpen {
		end := min(int64(len(file)), i.Offset+transfer.MaxPart)
		err := decode(s.ask(ctx, "PATCH", "/api/v1/imports/"+i.Id.String(), file[i.Offset:end], map[string]string{
			"Content-Type": "application/octet-stream", "Upload-Offset": strconv.FormatInt(i.Offset, 10), "Upload-Complete": strconv.FormatBool(end == int64(len(file))),
		}))
		if err != nil {
			return i, err
		}
	}
	return i, nil
}

// out takes all products out, and returns how many bytes they are.
func (s *server) out(ctx context.Context) (written int64, err error) {
	for path := "/api/v1/exports/products?format=csv"; path != ""; {
		text, next, err := s.ask(ctx, "GET", path, nil, nil)
		if err != nil {
			return written, err
		}
		written, path = written+int64(len(text)), next
	}
	return written, nil
}

// peak is the most memory that the server has had, in bytes.
func (s *server) peak() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, err = fmt.Sscanf(rest, "%d kB", &kib)
	return kib << 10, err
}

// copied is how long PostgreSQL takes to store what came in once more.
func (s *store) copied(ctx context.Context) (time.Duration, error) {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, table := range []string{"products", "variants", "prices", "product_prices"} {
		if _, err := conn.Exec(ctx, fmt.Sprintf("CREATE TABLE copy_of_%s (LIKE %s INCLUDING ALL)", table, table)); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	for _, table := range []string{"products", "variants", "prices", "product_prices"} {
		if _, err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO copy_of_%s SELECT * FROM %s", table, table)); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}
