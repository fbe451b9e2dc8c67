package cache_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

var long = strings.Repeat(`{"title":"a mug","price":"19.99"},`, 100)

// kept is an answer that is sent to many.
func kept(t testing.TB, text string) *cache.Answer {
	t.Helper()
	return cache.NewKept([]byte(text))
}

func send(a *cache.Answer, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// unpacked is what a caller reads of an answer.
func unpacked(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var r io.Reader = w.Body
	var err error
	switch w.Header().Get("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(w.Body)
	case "br":
		r = brotli.NewReader(w.Body)
	case "zstd":
		r, err = zstd.NewReader(w.Body)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestALongAnswerIsSentInTheEncodingThatIsAskedForMost(t *testing.T) {
	t.Parallel()
	a := kept(t, long)
	for asked, want := range map[string]string{
		"": "", "identity": "", "*;q=0": "", "gzip;q=0": "", "deflate, compress": "", "gzip; q=wrong": "",
		"gzip": "gzip", "GZIP": "gzip", "x, gzip": "gzip", "br": "br", "zstd": "zstd",
		"gzip, deflate, br, zstd": "zstd", "gzip, deflate, br": "br", "*": "zstd", "*, zstd;q=0": "br",
		"gzip;q=1.0, br;q=0.5": "gzip", "gzip;q=0.2,br; q=0.3": "br",
	} {
		w := send(a, "Accept-Encoding", asked)
		if got := w.Header().Get("Content-Encoding"); got != want {
			t.Errorf("%q is answered with %q, not %q", asked, got, want)
		}
		if size := w.Body.Len(); w.Header().Get("Vary") != "Accept-Encoding" || w.Result().ContentLength != int64(size) || want != "" && size > len(long)/5 {
			t.Errorf("%q: %v, %d bytes", asked, w.Header(), size)
		}
		if unpacked(t, w) != long {
			t.Errorf("%q is answered with something else", asked)
		}
	}
}

func TestEveryFormHasATagOfItsOwnAndIsNotSentToWhoHasOne(t *testing.T) {
	t.Parallel()
	a := kept(t, long)
	seen := map[string]bool{}
	for _, encoding := range []string{"identity", "gzip", "br", "zstd"} {
		tag := send(a, "Accept-Encoding", encoding).Header().Get("ETag")
		if seen[tag] {
			t.Errorf("%s has a tag that another form has", encoding)
		}
		seen[tag] = true
		for _, have := range []string{tag, "W/" + tag, `"x", ` + tag + `, "y"`} {
			w := send(a, "Accept-Encoding", encoding, "If-None-Match", have)
			if w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s with %s: %d %v", encoding, have, w.Code, w.Header())
			}
		}
		for _, have := range []string{`"x"`, tag[:len(tag)-1], strings.Trim(tag, `"`), strings.TrimSuffix(tag, `"`) + `-x"`, ""} {
			if w := send(a, "Accept-Encoding", encoding, "If-None-Match", have); w.Code != http.StatusOK {
				t.Errorf("%s with %s: %d", encoding, have, w.Code)
			}
		}
	}
	if w := send(a, "If-None-Match", "*"); w.Code != http.StatusNotModified {
		t.Errorf("*: %d", w.Code)
	}
}

func TestWhatIsShortOrSentToFewIsSentPlain(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]*cache.Answer{"short": kept(t, long[:500]), "not kept": cache.NewAnswer([]byte(long))} {
		if w := send(a, "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" || w.Header().Get("Vary") != "" {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
}

func TestCompressedFormsTakeNoMoreThanTheyMay(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 4<<10)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	a := kept(t, string(noise))
	for _, encoding := range []string{"gzip", "br", "zstd", "gzip"} {
		w := send(a, "Accept-Encoding", encoding)
		if w.Header().Get("Content-Encoding") != "" || !bytes.Equal(w.Body.Bytes(), noise) {
			t.Errorf("what %s makes longer is sent as %v", encoding, w.Header())
		}
	}
}

func TestAnAnswerAddsToWhatItVariesBy(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	w.Header().Set("Vary", "Authorization")
	kept(t, long).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got := strings.Join(w.Header()["Vary"], " "); got != "Authorization Accept-Encoding" {
		t.Error(got)
	}
	if got := send(kept(t, long)).Header()["Vary"]; len(got) != 1 {
		t.Errorf("the next one varies by %v", got)
	}
}

func TestAnAnswerFromRedisIsSentCompressedToo(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	here, other := replicaOf(t, addr, time.Hour), replicaOf(t, addr, time.Hour)
	key := cache.NewKey("kind", "long", "tags")
	tags := map[string]bool{}
	for _, k := range []replica{here, other, other} {
		a, err := k.Answer(t.Context(), key, says(long))
		if err != nil {
			t.Fatal(err)
		}
		w := send(a, "Accept-Encoding", "gzip")
		if unpacked(t, w) != long || w.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v", w.Header())
		}
		tags[w.Header().Get("ETag")] = true
	}
	if len(tags) != 1 {
		t.Errorf("replicas answer with %v", tags)
	}
}

// nobody is a ResponseWriter that keeps nothing.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header         { return n.header }
func (n nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n nobody) WriteHeader(int)             {}

func TestSendingAnAnswerAgainAllocatesNothing(t *testing.T) { // not in parallel: allocations of others would be counted
	a := kept(t, long)
	for _, headers := range []http.Header{
		{}, {"Accept-Encoding": {"gzip, deflate, br, zstd"}}, {"Accept-Encoding": {"gzip;q=0.5, br"}, "If-None-Match": {`"x"`}},
	} {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
		r.Header = headers
		w := nobody{http.Header{}}
		if n := testing.AllocsPerRun(1000, func() { delete(w.header, "Vary"); a.ServeHTTP(w, r) }); n > 0 {
			t.Errorf("%v: %v allocations", headers, n)
		}
	}
}

func BenchmarkSendingACompressedAnswer(b *testing.B) {
	a := kept(b, long)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	w := nobody{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		delete(w.header, "Vary")
		a.ServeHTTP(w, r)
	}
}
