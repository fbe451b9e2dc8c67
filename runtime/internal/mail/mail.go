// Package mail is what the store says by mail: a message is queued in the
// transaction that causes it, and a worker words it and hands it to a server by
// SMTP. Who is told what, and when, is commerce's to know, and so are the facts
// of a message; this package has the words. It owns the table mail_handovers.
//
// A mail is neither lost nor sent twice, also when workers are killed. What
// SMTP leaves open, namely what became of a mail whose last dot had no answer,
// is said in the job's failure, and a person decides.
package mail

import (
	"context"
	"log/slog"
	"net/mail"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// Template names what a mail says; its words are in messages/LOCALE/TEMPLATE.txt,
// the subject in the first line, and messages/LOCALE/TEMPLATE.html.
type Template string

// The templates that there are.
const (
	VerifyEmail       Template = "verify_email"
	PasswordReset     Template = "password_reset"
	AlreadyRegistered Template = "already_registered"
	PasswordChanged   Template = "password_changed"
	OrderPlaced       Template = "order_placed"
	OrderEdited       Template = "order_edited"
	OrderShipped      Template = "order_shipped"
	OrderCancelled    Template = "order_cancelled"
	OrderRefunded     Template = "order_refunded"
	ReturnApproved    Template = "return_approved"
	ReturnRejected    Template = "return_rejected"
	CartReminder      Template = "cart_reminder"
	LowStock          Template = "low_stock"
	TestMessage       Template = "test_message"
)

// subject is what a template is about, which its message must name.
type subject int

const (
	aboutNothing subject = iota
	aboutCustomer
	aboutOrder
	aboutReturn
	aboutCart
	aboutVariants
)

var subjects = map[Template]subject{
	VerifyEmail: aboutCustomer, PasswordReset: aboutCustomer, AlreadyRegistered: aboutNothing, PasswordChanged: aboutNothing,
	OrderPlaced: aboutOrder, OrderEdited: aboutOrder, OrderShipped: aboutOrder, OrderCancelled: aboutOrder, OrderRefunded: aboutOrder,
	ReturnApproved: aboutReturn, ReturnRejected: aboutReturn,
	CartReminder: aboutCart, LowStock: aboutVariants, TestMessage: aboutNothing,
}

// Templates are the names of all templates.
func Templates() []Template {
	var all []Template
	for t := range subjects {
		all = append(all, t)
	}
	slices.Sort(all)
	return all
}

// Message is what is to be said to whom. It is the payload of a job, which
// staff can read, so it holds no secret and none of the facts: those are asked
// for when the mail is sent.
type Message struct {
	Template Template `json:"template"`
	// To is a bare address. Its owner may not have asked for the mail, so what
	// somebody else typed goes into it only as the facts of an order.
	To string `json:"to"`
	// Locale is the receiver's, as a tag of BCP 47; the store's where it is
	// empty.
	Locale string `json:"locale,omitempty"`

	CustomerID uuid.UUID   `json:"customerId,omitempty,omitzero"`
	OrderID    uuid.UUID   `json:"orderId,omitempty,omitzero"`
	CartID     uuid.UUID   `json:"cartId,omitempty,omitzero"`
	VariantIDs []uuid.UUID `json:"variantIds,omitempty"`
	// Unpaid says that an order was cancelled for its payment did not come.
	Unpaid bool `json:"unpaid,omitempty"`
	// FulfillmentID is what of an order was shipped, RefundID what of it was
	// given back; uuid.Nil for all of it.
	FulfillmentID uuid.UUID `json:"fulfillmentId,omitempty,omitzero"`
	RefundID      uuid.UUID `json:"refundId,omitempty,omitzero"`
	ReturnID      uuid.UUID `json:"returnId,omitempty,omitzero"`
}

// Kind is the job's name in the queue.
func (Message) Kind() string { return "email" }

// attempts span about eight hours.
const attempts = 20

// InsertOpts have mails go first, for somebody waits for them.
func (Message) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: config.QueueHigh, MaxAttempts: attempts}
}

// mostVariants bounds the list in one mail.
const mostVariants = 100

// Check wants a template that there is, an address, and what the template is
// about.
func (m Message) Check() error {
	var f problem.Findings
	about, ok := subjects[m.Template]
	f.Require(ok, "/template", "%.40q is none of %s", string(m.Template), problem.Words(Templates(), "and"))
	f.Require(IsAddress(m.To), "/to", "must be an e-mail address such as ada@example.com")
	f.Require(m.Locale == "" || config.IsLocale(m.Locale), "/locale", "must be a language tag such as de or pt-BR")
	for of, id := range map[subject]struct {
		pointer string
		there   bool
	}{
		aboutCustomer: {"/customerId", m.CustomerID != uuid.Nil}, aboutOrder: {"/orderId", m.OrderID != uuid.Nil},
		aboutReturn: {"/returnId", m.OrderID != uuid.Nil && m.ReturnID != uuid.Nil},
		aboutCart:   {"/cartId", m.CartID != uuid.Nil}, aboutVariants: {"/variantIds", len(m.VariantIDs) > 0},
	} {
		f.Require(about != of || id.there, id.pointer, "is what %s is about, and missing", m.Template)
	}
	f.Require(len(m.VariantIDs) <= mostVariants, "/variantIds", "has %d at most", mostVariants)
	return f.Err()
}

// IsAddress reports whether mail can be sent to a bare address.
func IsAddress(address string) bool {
	parsed, err := mail.ParseAddress(address)
	return err == nil && parsed.Name == "" && parsed.Address == address && len(address) <= 254 && !strings.ContainsAny(address, `"[]`)
}

// Outbox queues messages.
type Outbox struct {
	queue *jobs.Queue
	warn  func()
}

// NewOutbox queues for the workers of the store. Where the configuration has
// no mail it queues nothing and says so once in the log.
func NewOutbox(c config.Config, queue *jobs.Queue, log *slog.Logger) *Outbox {
	o := &Outbox{warn: sync.OnceFunc(func() { log.Warn("no mail is configured, so nobody is told anything") })}
	if c.Mail != nil {
		o.queue = queue
	}
	return o
}

// Enqueue has m sent when tx commits.
func (o *Outbox) Enqueue(ctx context.Context, tx pgx.Tx, m Message) error {
	if o.queue == nil {
		o.warn()
		return nil
	}
	if m.To == "" { // whoever it was for is erased
		return nil
	}
	return o.queue.Enqueue(ctx, tx, m)
}

// EnqueueWith is Enqueue as a part of statements.
func (o *Outbox) EnqueueWith(ctx context.Context, statements *batch.Statements, all ...Message) error {
	if o.queue == nil {
		o.warn()
		return nil
	}
	args := make([]jobs.Args, 0, len(all))
	for _, m := range all {
		if m.To != "" {
			args = append(args, m)
		}
	}
	return o.queue.EnqueueWith(ctx, statements, args...)
}
