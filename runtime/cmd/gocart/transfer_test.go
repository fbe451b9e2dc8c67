package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// gocart runs a command, and returns what it writes and says.
func gocart(t *testing.T, args ...string) (out, said string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	root := rootCommand()
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

func TestAFileComesInWholeOverALineThatIsLostAgainAndAgain(t *testing.T) {
	t.Parallel()
	store := start(t, storeConfig(t, testbed.Database(t)), roles{api: true})
	far, err := url.Parse("http://" + store.addrs[1].String())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(far)
	var asked atomic.Int32
	line := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n%5 == 2: // the store does it, and nobody hears of it
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case n%5 == 4: // it never arrives
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	defer line.Close()
	var file strings.Builder
	file.WriteString("slug,title,description,type,status,sku,price EUR\n")
	const n = 300
	for i := range n {
		fmt.Fprintf(&file, "p-%d,P %d,%s,simple,active,P-%d,1.00\n", i, i, strings.Repeat("long ", 2000), i) // 3 MB in all
	}
	base := []string{"--url", line.URL, "--key-file", testbed.File(t, adminKey)}
	_, said, err := gocart(t, append([]string{"import", testbed.File(t, file.String())}, base...)...)
	if err != nil || !strings.Contains(said, fmt.Sprintf("%d created, 0 updated, 0 unchanged, 0 refused\n", n)) {
		t.Fatalf("said %s: %v", said, err)
	}
	exported, _, err := gocart(t, append([]string{"export", "products"}, base...)...)
	if err != nil || strings.Count(exported, "\nP-")+strings.Count(exported, ",P-") != n {
		t.Errorf("%d bytes went out: %v", len(exported), err)
	}
	_, said, err = gocart(t, append([]string{"import", testbed.File(t, exported)}, base...)...)
	if err != nil || !strings.Contains(said, fmt.Sprintf("0 created, 0 updated, %d unchanged, 0 refused\n", n)) {
		t.Errorf("said %s: %v", said, err)
	}
}

func TestWhatAStoreRefusesOfAFileIsSaid(t *testing.T) {
	t.Parallel()
	store := start(t, storeConfig(t, testbed.Database(t)), roles{api: true})
	base := []string{"--url", "http://" + store.addrs[1].String(), "--key-file", testbed.File(t, adminKey)}
	bad := testbed.File(t, "slug,title,type,sku,price EUR\na,A,simple,A,1.00\nb,,simple,B,1.00\n")
	for _, dry := range []string{"--dry-run", "--dry-run=false"} {
		out, said, err := gocart(t, append([]string{"import", dry, bad}, base...)...)
		if err == nil || !strings.Contains(out, "row 3: invalid_request: ") || !strings.Contains(out, "/title must have 1 to 200 characters") || !strings.Contains(said, "1 created") {
			t.Errorf("%s: wrote %s, said %s: %v", dry, out, said, err)
		}
		if strings.Contains(said, "a dry run: nothing was changed") != (dry == "--dry-run") {
			t.Errorf("%s: said %s", dry, said)
		}
	}
	for what, args := range map[string][]string{
		"a column that means nothing": {"import", testbed.File(t, "slug,title,type,sku,colour\n")},
		"a kind that is none":         {"import", "--kind", "dreams", bad},
		"a format that is none":       {"export", "products", "--format", "shopify"},
		"an import that is none":      {"import", "--resume", "0192c6de-0000-7000-8000-000000000000", bad},
	} {
		if _, _, err := gocart(t, append(args, base...)...); err == nil || !strings.Contains(err.Error(), "the store answers 4") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
