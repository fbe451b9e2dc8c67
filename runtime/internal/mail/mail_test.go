package mail

import (
	"errors"
	"strings"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// worker sends to the server that a URL names.
func worker(t *testing.T, url string) *sender {
	c := config.Default()
	c.Store.URL = "https://shop.example"
	c.Mail = &config.Mail{URLFile: testbed.File(t, url+"\n"), From: "Ada's shop <shop@shop.example>"}
	return newSender(c)
}

func work(t *testing.T, s *sender, m Message) error {
	return s.send(t.Context(), &river.Job[Email]{JobRow: &rivertype.JobRow{ID: 7}, Args: Email{m}})
}

func TestEveryMessageHasASubjectAndTheStoresURLAndItsToken(t *testing.T) {
	t.Parallel()
	for kind, token := range map[Kind]string{VerifyEmail: "t0ken", PasswordReset: "t0ken", AlreadyRegistered: "", PasswordChanged: "", CartReminder: "", LowStock: ""} {
		subject, body, err := text(Message{Kind: kind, Token: token}, "https://shop.example/a?b&c")
		if err != nil || subject == "" || strings.ContainsAny(subject, "\r\n{") || !strings.Contains(body, "https://shop.example/a?b&c") || !strings.Contains(body, token) {
			t.Errorf("%s: %v %q %q", kind, err, subject, body)
		}
	}
	if _, _, err := text(Message{Kind: "other"}, ""); err == nil {
		t.Error("another kind has words")
	}
}

func TestAMailIsSentWithTheURLsPassword(t *testing.T) {
	t.Parallel()
	server := testbed.SMTP(t, nil)
	w := worker(t, "smtp://user:pa%3Ass@"+server.Addr+"?tls=none")
	if err := work(t, w, Message{Kind: PasswordReset, To: "ada@example.com", Token: "t0ken"}); err != nil {
		t.Fatal(err)
	}
	said := strings.Join(server.Said(), "\n")
	for _, want := range []string{"AUTH PLAIN AHVzZXIAcGE6c3M=", "MAIL FROM:<shop@shop.example>", "RCPT TO:<ada@example.com>"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %s in %s", want, said)
		}
	}
	for _, want := range []string{"Subject: A new password", "\nt0ken\n", "Message-ID: <gocart-7@shop.example>", "Auto-Submitted: auto-generated", `"Ada's shop" <shop@shop.example>`} {
		if mails := server.Mails(); len(mails) != 1 || !strings.Contains(mails[0], want) {
			t.Errorf("no %q in %v", want, mails)
		}
	}
}

func TestWithoutSTARTTLSNothingIsSentUnlessTheURLSaysSo(t *testing.T) {
	t.Parallel()
	server := testbed.SMTP(t, nil)
	err := work(t, worker(t, "smtp://user:s3cr3t@"+server.Addr), Message{Kind: PasswordReset, To: "ada@example.com", Token: "t0ken"})
	if err == nil || isCancelled(err) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v", err)
	}
	for _, line := range server.Said() {
		if !strings.HasPrefix(line, "EHLO") && line != "QUIT" && line != "STARTTLS" {
			t.Errorf("said in plain: %s", line)
		}
	}
}

func isCancelled(err error) bool {
	_, ok := errors.AsType[*rivertype.JobCancelError](err)
	return ok
}

func TestWhatIsRefusedForGoodIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for reply, forGood := range map[string]bool{"550 no such user": true, "451 later": false} {
		server := testbed.SMTP(t, map[string]string{"RCPT": reply})
		err := work(t, worker(t, "smtp://"+server.Addr+"?tls=none"), Message{Kind: PasswordChanged, To: "ada@example.com"})
		if err == nil || isCancelled(err) != forGood {
			t.Errorf("%s: %v", reply, err)
		}
	}
	if err := work(t, worker(t, "smtp://127.0.0.1:1?tls=none"), Message{Kind: PasswordChanged, To: "ada@example.com"}); err == nil || isCancelled(err) {
		t.Errorf("a server that is away: %v", err)
	}
	if err := work(t, worker(t, "smtp://127.0.0.1:1?tls=none"), Message{Kind: "other", To: "ada@example.com"}); !isCancelled(err) {
		t.Errorf("a kind of another version: %v", err)
	}
}

func TestAURLThatIsNoneIsAnErrorWithoutThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mail.example.com:587", "http://u:s3cr3t@mail.example.com", "smtp://u:s3cr3t@", "smtp://u:s3cr3t@host:port", "smtp://u:s3cr3t%zz@host", "smtp://u:s3cr3t@host:99999"} {
		if _, err := dial(testbed.File(t, url)); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := dial("/none"); err == nil {
		t.Error("no file is no error")
	}
	if _, err := dial(testbed.File(t, "smtps://u:p@mail.example.com")); err != nil {
		t.Error(err)
	}
}
