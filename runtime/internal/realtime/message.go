package realtime

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/websocket"
)

// Protocol is the WebSocket subprotocol that this package speaks.
const Protocol = "gocart.v1"

// request is what a client says. Type says which of the rest there is.
type request struct {
	Type string `json:"type"`
	// ID is the client's own, and comes back with the answer.
	ID string `json:"id,omitempty"`

	Token  string `json:"token,omitempty"`
	Ticket string `json:"ticket,omitempty"`

	Topic  string   `json:"topic,omitempty"`
	Topics []string `json:"topics,omitempty"`
	// After is the position of the last event that the client knows.
	After   *int64 `json:"after,omitempty"`
	Session string `json:"session,omitempty"`

	Method         string          `json:"method,omitempty"`
	Path           string          `json:"path,omitempty"`
	IdempotencyKey string          `json:"idempotencyKey,omitempty"`
	CartToken      string          `json:"cartToken,omitempty"`
	Body           json.RawMessage `json:"body,omitempty"`
}

// response is what the store says, save for events.
type response struct {
	Type string `json:"type"`
	ID   string `json:"id,omitempty"`

	Session     string     `json:"session,omitempty"`
	PingSeconds int        `json:"pingSeconds,omitempty"`
	ExpiresAt   *time.Time `json:"expiresAt,omitempty"`
	Topic       string     `json:"topic,omitempty"`
	Topics      []string   `json:"topics,omitempty"`
	Position    *int64     `json:"position,omitempty"`
	AfterMillis *int64     `json:"afterMillis,omitempty"`

	Status int             `json:"status,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`

	Code   string          `json:"code,omitempty"`
	Detail string          `json:"detail,omitempty"`
	Errors []problem.Field `json:"errors,omitempty"`
}

// told is an event as clients see it.
type told struct {
	Type     string          `json:"type"`
	Topic    string          `json:"topic"`
	Position int64           `json:"position"`
	Event    string          `json:"event"`
	Subject  uuid.UUID       `json:"subject"`
	Product  uuid.UUID       `json:"productId,omitzero"`
	At       time.Time       `json:"at"`
	Data     json.RawMessage `json:"data"`
}

// event is one as the shards see it. It is never changed.
type event struct {
	position int64
	topic    string
	// object is what the topic's subscribers name.
	object, owner uuid.UUID
	public        bool
	at            time.Time
	frame         *websocket.Frame
	// forCustomers is the frame of who may not read all of the topic.
	forCustomers *websocket.Frame
}

// outline makes an event without its frame, nil of one that is the store's own.
// Product is that of the variant that an event of stock is about.
func outline(p events.Published, product uuid.UUID) *event {
	if _, ok := readers[p.Topic]; !ok {
		return nil
	}
	e := &event{position: p.Position, topic: p.Topic, object: p.Subject, owner: p.Customer, public: p.Public, at: p.At}
	if p.Topic == events.Inventory {
		e.object = product
	}
	return e
}

// encode makes the frame of p's outline.
func (e *event) encode(p events.Published) {
	t := told{Type: "event", Topic: p.Topic, Position: p.Position, Event: p.Type, Subject: p.Subject, At: p.At, Data: p.Data}
	if p.Topic == events.Inventory {
		t.Product = e.object
	}
	text, err := json.Marshal(t)
	if err != nil { // the database's JSON always marshals
		text = []byte(`{"type":"error","code":"internal"}`)
	}
	if p.Topic == events.Inventory { // how much there is now is what counts: who reads slowly skips what was
		e.frame = websocket.Latest(p.Type+"/"+p.Subject.String(), text)
	} else {
		e.frame = websocket.Text(text)
	}
	e.forCustomers = e.frame
	if !e.public || p.Topic != events.Orders {
		return
	}
	if t.Data = events.ForCustomer(p.Type, p.Actor, p.Data); len(t.Data) < len(p.Data) {
		if text, err = json.Marshal(t); err == nil { // as above
			e.forCustomers = websocket.Text(text)
		}
	}
}

// frameFor is the event as somebody may know it.
func (e *event) frameFor(s *session) *websocket.Frame {
	if e.forCustomers != e.frame && !s.who.Load().Can(readers[e.topic]) {
		return e.forCustomers
	}
	return e.frame
}

// frameOf encodes what the store says.
func frameOf(r response) *websocket.Frame {
	text, err := json.Marshal(r)
	if err != nil { // strings and numbers always marshal; a body was JSON already
		text = []byte(`{"type":"error","code":"internal"}`)
	}
	return websocket.Text(text)
}

// failure answers a request that could not be done.
func failure(id string, err error) response {
	p, ok := errors.AsType[*problem.Problem](err)
	if !ok {
		p = problem.New(503, "unavailable", "The store can not do this right now. Please try again.")
	}
	return response{Type: "error", ID: id, Code: p.Code, Detail: p.Detail, Errors: p.Errors}
}
