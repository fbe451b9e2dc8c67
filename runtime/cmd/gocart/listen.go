package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"

	"gitee.com/captainjez/gocart/runtime/internal/realtime"
)

// listening are the flags of listen.
type listening struct {
	remote
	topics  []string
	count   int
	timeout time.Duration
	say     bool
}

func listenCommand() *cobra.Command {
	var l listening
	cmd := &cobra.Command{
		Use: "listen --url URL [--key-file FILE] [--topic TOPIC]...", Short: "Prints what a store tells over a WebSocket", Args: cobra.NoArgs,
		Long: "Prints each message as a line of JSON, with the time at which it came as receivedAt. Needs no configuration: it talks to any store.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if l.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, l.timeout)
				defer cancel()
			}
			return l.run(ctx, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	l.flags(cmd, "'s sockets", "wss://shop.example/ws")
	f := cmd.Flags()
	f.StringArrayVar(&l.topics, "topic", nil, "subscribe to `TOPIC`, such as orders; may be repeated")
	f.IntVar(&l.count, "count", 0, "end after `N` events")
	f.DurationVar(&l.timeout, "timeout", 0, "end after this time, with an error where --count events have not come")
	f.BoolVar(&l.say, "say", false, "say each line of standard input, a message, once the topics are subscribed to; end when all are answered")
	return cmd
}

func (l *listening) run(ctx context.Context, in io.Reader, out io.Writer) error {
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 20)
	for _, topic := range l.topics {
		text, err := json.Marshal(map[string]string{"type": "subscribe", "topic": topic})
		if err != nil {
			return err
		}
		if err := conn.Write(ctx, websocket.MessageText, text); err != nil {
			return fmt.Errorf("subscribing to %s: %w", topic, err)
		}
	}
	speech := &speech{conn: conn, stays: l.count > 0}
	subscribed, events := 0, 0
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return l.ended(ctx, err, events, speech)
		}
		fmt.Fprintf(out, "{\"receivedAt\":%q,%s\n", time.Now().UTC().Format(time.RFC3339Nano), strings.TrimPrefix(string(text), "{"))
		var m struct{ Type, Detail string }
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("the store says what is no message: %w", err)
		}
		switch {
		case m.Type == "event":
			events++
		case m.Type == "hello" || m.Type == "reload" || m.Type == "reconnect":
		case subscribed < len(l.topics):
			if m.Type == "error" {
				return errors.New(m.Detail)
			}
			subscribed++
		default:
			speech.answered()
		}
		if l.say && m.Type != "event" && subscribed == len(l.topics) {
			speech.begin(ctx, in)
		}
		if l.count > 0 && events >= l.count || l.count == 0 && speech.over() {
			return conn.Close(websocket.StatusNormalClosure, "")
		}
	}
}

// ended says whether the end of the connection is an error.
func (l *listening) ended(ctx context.Context, err error, events int, s *speech) error {
	switch late := ctx.Err() != nil; {
	case l.count == 0 && (late || s.over()):
		err = nil
	case late:
		err = fmt.Errorf("of %d events %d have come", l.count, events)
	default:
		err = fmt.Errorf("the connection was lost: %w", err)
	}
	return err
}

func (l *listening) dial(ctx context.Context) (*websocket.Conn, error) {
	client, header, err := l.client()
	if err != nil {
		return nil, err
	}
	options := &websocket.DialOptions{Subprotocols: []string{realtime.Protocol}, HTTPHeader: header, HTTPClient: client}
	conn, response, err := websocket.Dial(ctx, l.url, options) //nolint:bodyclose // what there is of it is in memory
	if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
		var p struct{ Detail string }
		if json.NewDecoder(response.Body).Decode(&p) == nil && p.Detail != "" {
			return nil, fmt.Errorf("the store answers %s: %s", response.Status, p.Detail)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", l.url, err)
	}
	return conn, nil
}

// speech says what standard input has.
type speech struct {
	conn *websocket.Conn
	// stays open after that.
	stays bool

	mu            sync.Mutex
	begun, ended  bool
	said, replies int
}

func (s *speech) begin(ctx context.Context, in io.Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return
	}
	s.begun = true
	go func() {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, 64<<10)
		for lines.Scan() {
			s.mu.Lock()
			s.said++
			s.mu.Unlock()
			if s.conn.Write(ctx, websocket.MessageText, lines.Bytes()) != nil {
				return // who reads sees why
			}
		}
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		if s.over() && !s.stays {
			_ = s.conn.Close(websocket.StatusNormalClosure, "")
		}
	}()
}

func (s *speech) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies++
}

// over reports whether everything was said and answered.
func (s *speech) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && s.replies >= s.said
}
