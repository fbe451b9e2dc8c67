package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// line is one that listen prints.
type line struct {
	ReceivedAt                     time.Time
	Type, ID, Topic, Event, Detail string
	Status                         int
	Data                           struct{ Available int }
}

// listener runs gocart listen on a store. Its lines can be read while it runs.
func listener(t *testing.T, args ...string) (lines *json.Decoder, in io.WriteCloser, end func() error) {
	t.Helper()
	from, out := io.Pipe()
	said, in := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	root := rootCommand()
	root.SetIn(said)
	root.SetOut(out)
	root.SetArgs(append([]string{"listen"}, args...))
	result := make(chan error, 1)
	go func() { err := root.ExecuteContext(ctx); _ = out.Close(); result <- err }()
	return json.NewDecoder(from), in, func() error { _, _ = io.Copy(io.Discard, from); return <-result }
}

func read(t *testing.T, lines *json.Decoder, kind string) (l line) {
	t.Helper()
	if err := lines.Decode(&l); err != nil || l.Type != kind || time.Since(l.ReceivedAt).Abs() > time.Minute {
		t.Fatalf("%+v %v, want a message %s", l, err, kind)
	}
	return l
}

func TestListenPrintsWhatAStoreTells(t *testing.T) {
	t.Parallel()
	c := storeConfig(t, testbed.Database(t))
	store := start(t, c, roles{api: true})
	_, port, err := net.SplitHostPort(store.addrs[1].String())
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"--url", "ws://shop.example:" + port + "/ws", "--resolve", "shop.example:" + port + ":127.0.0.1", "--key-file", testbed.File(t, adminKey+"\n")}
	with := func(args ...string) []string { return append(append([]string{}, base...), args...) }
	create(t, "http://"+store.addrs[1].String(), "MUG")
	var locations struct{ Locations []struct{ ID string } }
	administer(t, store, "GET", "/locations", "", &locations)
	count := func(n string) {
		administer(t, store, "POST", "/inventory/adjustments",
			`{"reason":"count","changes":[{"sku":"MUG","locationId":"`+locations.Locations[0].ID+`","quantity":`+n+`}]}`, nil)
	}

	lines, _, end := listener(t, with("--topic", "inventory", "--topic", "orders", "--count", "2")...)
	read(t, lines, "hello")
	if l := read(t, lines, "subscribed"); l.Topic != "inventory" {
		t.Errorf("%+v", l)
	}
	read(t, lines, "subscribed")
	count("40")
	count("41")
	for _, n := range []int{40, 41} {
		if l := read(t, lines, "event"); l.Event != "stock.changed" || l.Data.Available != n {
			t.Errorf("%+v", l)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}

	lines, in, end := listener(t, with("--say")...)
	read(t, lines, "hello")
	for _, text := range []string{`{"type":"ping","id":"p"}`, `{"type":"command","id":"c","method":"POST","path":"/carts","idempotencyKey":"k","body":{}}`, `{"type":"dance"}`} {
		if _, err := io.WriteString(in, text+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	_ = in.Close()
	if l := read(t, lines, "pong"); l.ID != "p" {
		t.Errorf("%+v", l)
	}
	if l := read(t, lines, "reply"); l.ID != "c" || l.Status != http.StatusCreated {
		t.Errorf("%+v", l)
	}
	read(t, lines, "error")
	if err := end(); err != nil {
		t.Error(err)
	}

	for name, is := range map[string]struct {
		args []string
		err  string
	}{
		"too few":       {with("--topic", "orders", "--count", "1", "--timeout", "300ms"), "of 1 events 0 have come"},
		"for a time":    {with("--topic", "orders", "--timeout", "300ms"), ""},
		"no topic":      {with("--topic", "sessions"), `There is no topic "sessions"`},
		"no key":        {[]string{"--url", "ws://" + store.addrs[1].String() + "/ws", "--topic", "orders"}, "who you are"},
		"a wrong key":   {with("--key-file", testbed.File(t, "sk_live_x")), "401 Unauthorized: "},
		"nobody there":  {[]string{"--url", "ws://127.0.0.1:1/ws"}, "connection refused"},
		"no such CAs":   {with("--ca-file", testbed.File(t, "none")), "has no certificate"},
		"half an entry": {with("--resolve", "shop.example"), "is not HOST:PORT:ADDRESS"},
	} {
		_, _, end := listener(t, is.args...)
		if err := end(); is.err == "" && err != nil || is.err != "" && (err == nil || !strings.Contains(err.Error(), is.err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// administer asks the store as its administrator.
func administer(t *testing.T, r *running, method, path, body string, into any) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addrs[1].String()+"/api/v1"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+adminKey)
	q.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode >= 300 || into != nil && json.Unmarshal(text, into) != nil {
		t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
}
