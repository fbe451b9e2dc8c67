package websocket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestALongFrameInSmallPiecesIsCopiedAFewTimesOnly(t *testing.T) {
	t.Parallel()
	want := []byte(strings.Repeat("0123456789abcdef", MaxMessage/16))
	frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(bytes.Clone(want))))
	c := &Conn{}
	moves, at := 0, (*byte)(nil)
	for i := range frame {
		header, payload, rest, err := c.next(frame[i : i+1])
		switch {
		case err == nil:
			ws.Cipher(payload, header.Mask, 0)
			if i != len(frame)-1 || len(rest) != 0 || !bytes.Equal(payload, want) {
				t.Fatalf("after %d of %d bytes: %d bytes, %d more", i+1, len(frame), len(payload), len(rest))
			}
			if moves > 64 {
				t.Errorf("it was copied %d times", moves)
			}
			return
		case !errors.Is(err, io.ErrUnexpectedEOF):
			t.Fatal(err)
		}
		if at != &c.partial[0] {
			at, moves = &c.partial[0], moves+1
		}
	}
	t.Fatal("the frame is not taken")
}

func TestWhatAClientNeverReadsIsNotKeptWithoutEnd(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := Listen(l).Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := conn.(*transport)
	if err := server.detach(); err != nil {
		t.Fatal(err)
	}
	defer server.end()
	part := make([]byte, 64<<10)
	for range 64 << 20 / len(part) {
		if _, err = server.Write(part); err != nil {
			break
		}
	}
	if !errors.Is(err, errTooSlow) || len(server.out) > maxOut {
		t.Errorf("%d bytes are kept, %v", len(server.out), err)
	}
}

// FuzzFramesDoNotDependOnHowTheyArrive cuts what a client sends in two.
func FuzzFramesDoNotDependOnHowTheyArrive(f *testing.F) {
	text := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("hello"))))
	f.Add(append(bytes.Clone(text), text...), 7)
	f.Add(ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame(nil))), 1)
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 3)
	f.Fuzz(func(t *testing.T, sent []byte, at int) {
		if at < 0 || at > len(sent) {
			return
		}
		whole, err := frames(&Conn{}, sent)
		c := &Conn{}
		parts, partsErr := frames(c, sent[:at])
		if errors.Is(partsErr, io.ErrUnexpectedEOF) {
			var more []string
			more, partsErr = frames(c, sent[at:])
			parts = append(parts, more...)
		}
		if strings.Join(whole, "|") != strings.Join(parts, "|") || err.Error() != partsErr.Error() {
			t.Errorf("whole: %q, %v; in two: %q, %v", whole, err, parts, partsErr)
		}
	})
}

// frames takes frames until there is no whole one.
func frames(c *Conn, in []byte) (all []string, err error) {
	for {
		var payload []byte
		if _, payload, in, err = c.next(in); err != nil {
			return all, err
		}
		all = append(all, string(payload))
	}
}
