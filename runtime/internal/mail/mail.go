// Package mail is what the store says by mail: a message is queued in the
// transaction that causes it, and a worker sends it by SMTP. Who is told what,
// and when, is commerce's to know.
package mail

import (
	"bytes"
	"context"
	"embed"
	"log/slog"
	"strings"
	"text/template"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
)

// Kind names a message; its words are in messages/KIND.txt, the subject in the
// first line.
type Kind string

// The messages that there are.
const (
	VerifyEmail       Kind = "verify_email"
	PasswordReset     Kind = "password_reset"
	AlreadyRegistered Kind = "already_registered"
	PasswordChanged   Kind = "password_changed"
	CartReminder      Kind = "cart_reminder"
	LowStock          Kind = "low_stock"
)

// Message is what is to be said to whom.
type Message struct {
	Kind Kind `json:"kind"`
	// To is a bare address. Its owner is not known to have asked for the mail,
	// so nothing that somebody else wrote goes into it, not even a name.
	To string `json:"to"`
	// Token is for the kinds that carry one.
	Token string `json:"token,omitempty"`
	// CartID is that of the cart that a reminder is of.
	CartID uuid.UUID `json:"cartId,omitempty,omitzero"`
	// VariantIDs are those that an alert is of.
	VariantIDs []uuid.UUID `json:"variantIds,omitempty"`
}

// Email is the job that sends a message. It holds the token in the clear, as
// the mail itself does: a token works once, for an hour or a day, and a job
// that is done is deleted after a day.
type Email struct {
	Message Message `json:"message"`
}

// Kind is the job's name in the queue.
func (Email) Kind() string { return "email" }

// attempts span about nine hours.
const attempts = 20

// InsertOpts have mails go first, for somebody waits for them.
func (Email) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: config.QueueHigh, MaxAttempts: attempts}
}

// Outbox queues messages.
type Outbox struct {
	queue *jobs.Queue
	log   *slog.Logger
}

// NewOutbox queues for the workers of the store. Where the configuration has
// no mail it queues nothing and says so in the log.
func NewOutbox(c config.Config, queue *jobs.Queue, log *slog.Logger) *Outbox {
	if c.Mail == nil {
		queue = nil
	}
	return &Outbox{queue: queue, log: log}
}

// Enqueue has m sent when tx commits.
func (o *Outbox) Enqueue(ctx context.Context, tx pgx.Tx, m Message) error {
	if o.queue == nil {
		o.log.WarnContext(ctx, "no mail is configured, so nobody is told", "kind", m.Kind)
		return nil
	}
	return o.queue.Enqueue(ctx, tx, Email{Message: m})
}

//go:embed messages/*.txt
var files embed.FS

var messages = template.Must(template.ParseFS(files, "messages/*.txt"))

// text is a message's subject and body.
func text(m Message, storeURL string) (subject, body string, err error) {
	var out bytes.Buffer
	err = messages.ExecuteTemplate(&out, string(m.Kind)+".txt", struct {
		Message
		URL string
	}{m, storeURL})
	subject, body, _ = strings.Cut(out.String(), "\n")
	return subject, body, err
}
