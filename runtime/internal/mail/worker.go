package mail

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/wneessen/go-mail"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
)

// sendTimeout bounds one conversation with the server.
const sendTimeout = 30 * time.Second

// sender sends what an Outbox queued.
type sender struct{ urlFile, from, storeURL string }

// Delivery is the kind of jobs that send mails, as the configuration's mail
// says, which must not be nil. The server's URL is read anew for each mail, so
// that a changed one counts.
func Delivery(c config.Config) jobs.Kind {
	return jobs.Of(jobs.Kind{About: "Sends a mail.", Timeout: 2 * sendTimeout}, newSender(c).send)
}

func newSender(c config.Config) *sender {
	return &sender{urlFile: c.Mail.URLFile, from: c.Mail.From, storeURL: c.Store.URL}
}

// send sends one mail. What the server refuses for good is not tried again.
func (s *sender) send(ctx context.Context, job *river.Job[Email]) error {
	message, err := s.compose(job.Args.Message, job.ID)
	if err != nil {
		return jobs.Permanent(err) // it would be no better the next time
	}
	client, err := dial(s.urlFile)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, message)
	if refused, ok := errors.AsType[*mail.SendError](err); ok && !refused.IsTemp() && refused.ErrorCode() >= 500 {
		return jobs.Permanent(fmt.Errorf("the mail server refuses a mail: %w", err))
	}
	if err != nil {
		return fmt.Errorf("sending a mail: %w", err)
	}
	return nil
}

func (s *sender) compose(m Message, jobID int64) (*mail.Msg, error) {
	subject, body, err := text(m, s.storeURL)
	if err != nil {
		return nil, err
	}
	message := mail.NewMsg()
	if err := message.From(s.from); err != nil {
		return nil, fmt.Errorf("mail.from: %w", err)
	}
	if err := message.To(m.To); err != nil {
		return nil, fmt.Errorf("the receiver of a mail: %w", err)
	}
	message.Subject(subject)
	message.SetDate()
	// The same for every attempt, so that a mailbox can tell a repetition.
	host, err := url.Parse(s.storeURL)
	if err != nil {
		return nil, fmt.Errorf("store.url: %w", err)
	}
	message.SetMessageIDWithValue(fmt.Sprintf("gocart-%d@%s", jobID, host.Hostname()))
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	message.SetBodyString(mail.TypeTextPlain, body)
	return message, nil
}

// dial reads smtp://user:password@host:587, to which STARTTLS is a must unless
// ?tls=none, or smtps://user:password@host:465. Its errors have no password.
func dial(urlFile string) (*mail.Client, error) {
	raw, err := os.ReadFile(urlFile)
	if err != nil {
		return nil, fmt.Errorf("mail.urlFile: %w", err)
	}
	u, err := url.Parse(strings.TrimSpace(string(raw)))
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, fmt.Errorf("mail.urlFile: %s holds no URL such as smtp://user:password@mail.example.com:587", urlFile)
	}
	port, auth := 587, mail.SMTPAuthAutoDiscover
	options := []mail.Option{mail.WithTimeout(sendTimeout)}
	switch plain := u.Query().Get("tls") == "none"; {
	case u.Scheme == "smtps":
		port = 465
		options = append(options, mail.WithSSL())
	case plain:
		auth = mail.SMTPAuthPlainNoEnc
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, fmt.Errorf("mail.urlFile: %s holds a URL with a wrong port", urlFile)
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		options = append(options, mail.WithSMTPAuth(auth), mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	}
	return mail.NewClient(u.Hostname(), append(options, mail.WithPort(port))...)
}
