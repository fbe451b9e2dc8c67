package websocket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/internal/websocket"
)

// echo says what it hears.
type echo struct {
	conns         chan *websocket.Conn
	heard, closed atomic.Int32
}

func (e *echo) Message(c *websocket.Conn, text []byte) {
	e.heard.Add(1)
	c.Send(websocket.Text(text))
}

func (e *echo) Closed(*websocket.Conn) { e.closed.Add(1) }

// serve runs an echo server, and returns its URL.
func serve(t *testing.T, secure bool) (*echo, string) {
	t.Helper()
	server, err := websocket.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{conns: make(chan *websocket.Conn, 100)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := server.Upgrade(w, r, func(p string) bool { return p == "echo" })
		if err == nil && server.Start(c, e) == nil {
			e.conns <- c
		}
	}))
	s.Listener = websocket.Listen(s.Listener)
	url := "ws://"
	if secure {
		s.StartTLS()
		url = "wss://"
	} else {
		s.Start()
	}
	t.Cleanup(func() { s.Close(); server.Close() })
	return e, url + s.Listener.Addr().String()
}

func dial(t *testing.T, url string) *coder.Conn {
	t.Helper()
	c, _, err := coder.Dial(t.Context(), url, &coder.DialOptions{
		Subprotocols: []string{"other", "echo"},
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func bothWays(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Helper()
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, secure) })
	}
}

func TestTextsOfEverySizeComeBackInOrder(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, secure bool) {
		_, url := serve(t, secure)
		c := dial(t, url)
		if c.Subprotocol() != "echo" {
			t.Errorf("protocol %q", c.Subprotocol())
		}
		for _, size := range []int{0, 1, 125, 126, 4095, 4096, 65535, 65536} {
			sent := strings.Repeat("x", size)
			if err := c.Write(t.Context(), coder.MessageText, []byte(sent)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(t.Context()); err != nil || string(got) != sent {
				t.Fatalf("%d bytes came back as %d: %v", size, len(got), err)
			}
		}
		var writing sync.WaitGroup
		writing.Go(func() {
			for i := range 1000 {
				if err := c.Write(t.Context(), coder.MessageText, fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
			}
		})
		for i := range 1000 {
			if _, got, err := c.Read(t.Context()); err != nil || string(got) != fmt.Sprint(i) {
				t.Fatalf("got %s, %v; want %d", got, err, i)
			}
		}
		writing.Wait()
	})
}

func TestAMessageInPartsIsOne(t *testing.T) {
	t.Parallel()
	_, url := serve(t, false)
	c := dial(t, url)
	w, err := c.Writer(t.Context(), coder.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := io.WriteString(w, strings.Repeat("y", 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(t.Context()); err != nil || len(got) != 15000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if err := c.Ping(c.CloseRead(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestWhatBreaksTheProtocolIsClosedWithAReason(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, secure bool) {
		e, url := serve(t, secure)
		for i, tt := range []struct {
			kind coder.MessageType
			text string
			want coder.StatusCode
		}{
			{coder.MessageText, strings.Repeat("x", 65537), coder.StatusMessageTooBig},
			{coder.MessageText, "\xff\xfe", coder.StatusInvalidFramePayloadData},
			{coder.MessageBinary, "x", coder.StatusUnsupportedData},
		} {
			c := dial(t, url)
			if err := c.Write(t.Context(), tt.kind, []byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Read(t.Context()); coder.CloseStatus(err) != tt.want {
				t.Errorf("closed with %v, want %d", err, tt.want)
			}
			_ = c.CloseNow()
			testbed.Eventually(t, "it is known to be closed", func() bool { return e.closed.Load() == int32(i+1) })
		}
	})
}

// raw opens a connection on which frames are written as they are.
func raw(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, _, _, err := ws.Dialer{Protocols: []string{"echo"}}.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func write(t *testing.T, conn net.Conn, frames ...ws.Frame) {
	t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, ws.MustCompileFrame(ws.MaskFrame(f))...)
	}
	if _, err := conn.Write(all); err != nil {
		t.Fatal(err)
	}
}

func TestAPingAmidALongMessageIsAnswered(t *testing.T) {
	t.Parallel()
	_, url := serve(t, false)
	conn := raw(t, url)
	begin := ws.NewFrame(ws.OpText, false, []byte(strings.Repeat("x", websocket.MaxMessage-1)))
	end := ws.NewFrame(ws.OpContinuation, true, []byte("x"))
	write(t, conn, begin, ws.NewPingFrame([]byte("are you there")), end)
	for _, want := range []ws.OpCode{ws.OpPong, ws.OpText} {
		header, err := ws.ReadHeader(conn)
		if err == nil {
			_, err = io.CopyN(io.Discard, conn, header.Length)
		}
		if err != nil || header.OpCode != want {
			t.Fatalf("got %+v, %v; want %v", header, err, want)
		}
	}
}

func TestNothingIsDoneAfterAClose(t *testing.T) {
	t.Parallel()
	e, url := serve(t, false)
	conn := raw(t, url)
	(<-e.conns).Close(1012, "come back")
	write(t, conn, ws.NewTextFrame([]byte("one more")), ws.NewCloseFrame(nil))
	testbed.Eventually(t, "it is known to be closed", func() bool { return e.closed.Load() == 1 })
	if heard := e.heard.Load(); heard != 0 {
		t.Errorf("%d texts were taken after the close", heard)
	}
}

func TestWhoDoesNotReadBlocksNobodyAlsoBeforeTheStart(t *testing.T) {
	t.Parallel()
	server, err := websocket.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	e, sent := &echo{}, make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := server.Upgrade(w, r, func(string) bool { return true })
		if err != nil {
			return
		}
		big := websocket.Text([]byte(strings.Repeat("b", 60_000)))
		for range 1000 {
			c.Send(big)
		}
		_ = server.Start(c, e)
		close(sent)
	}))
	s.Listener = websocket.Listen(s.Listener)
	s.Start()
	t.Cleanup(func() { s.Close(); server.Close() })
	conn := raw(t, "ws://"+s.Listener.Addr().String())
	<-sent
	_ = conn.Close()
	testbed.Eventually(t, "it is known to be closed", func() bool { return e.closed.Load() == 1 })
}

func TestAFloodOfPingsIsClosed(t *testing.T) {
	t.Parallel()
	e, url := serve(t, false)
	c := dial(t, url)
	ctx := c.CloseRead(t.Context())
	for range 1100 {
		if c.Ping(ctx) != nil {
			break
		}
	}
	testbed.Eventually(t, "it is closed", func() bool { return e.closed.Load() == 1 })
	// Who pings now and then is heard.
	c = dial(t, url)
	<-e.conns
	conn := <-e.conns
	ctx = c.CloseRead(t.Context())
	for range 1100 {
		conn.Quiet()
		if err := c.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACloseIsAnswered(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, secure bool) {
		e, url := serve(t, secure)
		c := dial(t, url)
		if err := c.Close(coder.StatusNormalClosure, "bye"); err != nil {
			t.Error(err)
		}
		testbed.Eventually(t, "it is known to be closed", func() bool { return e.closed.Load() == 1 })
		// And one by the server.
		c = dial(t, url)
		<-e.conns
		(<-e.conns).Close(1012, "come back")
		if _, _, err := c.Read(t.Context()); coder.CloseStatus(err) != coder.StatusServiceRestart {
			t.Error(err)
		}
		testbed.Eventually(t, "it is known to be closed", func() bool { return e.closed.Load() == 2 })
	})
}

func TestASlowReaderGetsTheLatestAndThenIsClosed(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, secure bool) {
		e, url := serve(t, secure)
		c := dial(t, url)
		conn := <-e.conns
		// Until the kernel takes no more.
		big, n := websocket.Text([]byte(strings.Repeat("b", 60_000))), 0
		for ; conn.Waiting() == 0; n++ {
			conn.Send(big)
		}
		for i := range 1000 {
			conn.Send(websocket.Latest("stock", fmt.Append(nil, i)))
		}
		if waiting := conn.Waiting(); waiting != 2 {
			t.Errorf("%d wait", waiting)
		}
		conn.Send(websocket.Text([]byte("after")))
		for range n {
			if _, got, err := c.Read(t.Context()); err != nil || len(got) != 60_000 {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		for _, want := range []string{"999", "after"} {
			if _, got, err := c.Read(t.Context()); err != nil || string(got) != want {
				t.Fatalf("got %.20q, %v; want %s", got, err, want)
			}
		}
		closed := func() bool { return e.closed.Load() == 1 }
		for range 2000 {
			conn.Send(big)
		}
		for {
			if _, _, err := c.Read(t.Context()); err != nil {
				if coder.CloseStatus(err) != 4008 {
					t.Error(err)
				}
				break
			}
		}
		testbed.Eventually(t, "it is known to be closed", closed)
	})
}

func TestAClientThatVanishesIsForgotten(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, secure bool) {
		e, url := serve(t, secure)
		c := dial(t, url)
		_ = c.CloseNow()
		testbed.Eventually(t, "it is known to be closed", func() bool { return e.closed.Load() == 1 })
	})
}

func TestManyTalkAtOnce(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, secure bool) {
		e, url := serve(t, secure)
		var talking sync.WaitGroup
		for range 50 {
			c := dial(t, url)
			conn := <-e.conns
			talking.Go(func() {
				for range 40 {
					conn.Send(websocket.Text([]byte("from another")))
				}
			})
			talking.Go(func() {
				for i := range 20 {
					if err := c.Write(t.Context(), coder.MessageText, fmt.Append(nil, i)); err != nil {
						t.Error(err)
						return
					}
				}
				next := 0
				for range 60 {
					_, got, err := c.Read(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if string(got) == fmt.Sprint(next) {
						next++
					}
				}
				if next != 20 {
					t.Errorf("%d of 20 came back in order", next)
				}
			})
		}
		talking.Wait()
	})
}

func TestAnHTTPRequestIsStillServedByAWrappedListener(t *testing.T) {
	t.Parallel()
	_, url := serve(t, false)
	resp, err := http.Get("http" + strings.TrimPrefix(url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 400 || resp.StatusCode > 499 {
		t.Errorf("answered %s", resp.Status)
	}
}

func TestAListenerThatIsNotWrappedIsAnError(t *testing.T) {
	t.Parallel()
	server, err := websocket.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	got := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := server.Upgrade(w, r, func(string) bool { return true })
		got <- err
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		c, _, err := coder.Dial(ctx, "ws"+strings.TrimPrefix(s.URL, "http"), nil)
		if err == nil {
			_ = c.CloseNow()
		}
	}()
	if err := <-got; !errors.Is(err, websocket.ErrNotWrapped) {
		t.Error(err)
	}
}

var _ net.Listener = websocket.Listen(nil)
