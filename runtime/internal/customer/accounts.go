package customer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	outbox "gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// lifetimes are how long a token that is mailed works, once.
var lifetimes = map[outbox.Template]time.Duration{outbox.VerifyEmail: 24 * time.Hour, outbox.PasswordReset: time.Hour}

// account is what somebody wants to register, checked and hashed.
type account struct{ email, name, passwordHash string }

// prepare checks an input and hashes its password, before a transaction holds
// a connection and whether or not the address has an account.
func (s *Service) prepare(ctx context.Context, in openapi.RegisterInput) (account, error) {
	var f problem.Findings
	a := account{email: CheckEmail(&f, in.Email)}
	checkPassword(&f, "/password", in.Password)
	if in.Name != nil {
		a.name = *in.Name
		checkName(&f, "/name", a.name)
	}
	if err := f.Err(); err != nil {
		return a, err
	}
	var err error
	a.passwordHash, err = s.passwords.Hash(ctx, in.Password)
	return a, err
}

// register opens the account, or tells its holder that somebody tried to.
func (s *Service) register(ctx context.Context, tx pgx.Tx, a account) error {
	q, id := customerdb.New(tx), uuid.Must(uuid.NewV7())
	may, err := s.mayMail(ctx, q, a.email)
	if err != nil {
		return err
	}
	n, err := q.InsertCustomer(ctx, customerdb.InsertCustomerParams{ID: id, Email: a.email, Name: a.name, PasswordHash: a.passwordHash})
	if err != nil {
		return fmt.Errorf("storing a customer: %w", err)
	}
	switch {
	case !may:
		return nil
	case n == 0:
		return s.mailer.Enqueue(ctx, tx, outbox.Message{Template: outbox.AlreadyRegistered, To: a.email})
	}
	return s.mailer.Enqueue(ctx, tx, outbox.Message{Template: outbox.VerifyEmail, To: a.email, CustomerID: id})
}

// mayMail counts a mail that anybody could have caused, and reports whether it
// is within the bound for the address.
func (s *Service) mayMail(ctx context.Context, q *customerdb.Queries, email string) (bool, error) {
	wait, err := mails.try(ctx, q, email, s.now())
	if wait > 0 {
		s.log.WarnContext(ctx, "too many mails to one address, so it gets none", "wait", wait.String())
	}
	return wait == 0, err
}

// MailToken makes a token that works once for a purpose, from now on, while a
// mail with it is made; the database has its hash alone. For a customer who is
// not there, or has another address by now, it is outbox.ErrGone.
func (s *Service) MailToken(ctx context.Context, purpose outbox.Template, customerID uuid.UUID, address string) (string, error) {
	lifetime, ok := lifetimes[purpose]
	if !ok {
		return "", fmt.Errorf("no token is for %s", purpose)
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // it never fails
	token := base64.RawURLEncoding.EncodeToString(random)
	n, err := customerdb.New(s.pool).InsertToken(ctx, customerdb.InsertTokenParams{
		Hash: hashOf(token), CustomerID: customerID, Email: address, Purpose: string(purpose), ExpiresAt: s.now().Add(lifetime),
	})
	if err != nil {
		return "", fmt.Errorf("storing a token: %w", err)
	}
	if n == 0 {
		return "", fmt.Errorf("%w: no customer %s has that address", outbox.ErrGone, customerID)
	}
	return token, nil
}

func hashOf(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// takeToken says whose token it is, which then works no more.
func (s *Service) takeToken(ctx context.Context, q *customerdb.Queries, token string, purpose outbox.Template) (uuid.UUID, error) {
	var f problem.Findings
	f.Text("/token", token, 0, 200)
	if err := f.Err(); err != nil {
		return uuid.Nil, err
	}
	id, err := q.TakeToken(ctx, customerdb.TakeTokenParams{Hash: hashOf(token), Purpose: string(purpose), Now: s.now()})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, problem.New(http.StatusBadRequest, "invalid_token", "The token is not one that was mailed, or it was used, or it is too old. Ask for another.")
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("taking a token: %w", err)
	}
	return id, nil
}

func (s *Service) verifyEmail(ctx context.Context, token string) error {
	return db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := customerdb.New(tx)
		id, err := s.takeToken(ctx, q, token, outbox.VerifyEmail)
		if err != nil {
			return err
		}
		if err := q.VerifyEmail(ctx, id); err != nil {
			return fmt.Errorf("confirming an address: %w", err)
		}
		return nil
	})
}

// requestReset mails a token to an address that has an account.
func (s *Service) requestReset(ctx context.Context, in openapi.EmailInput) error {
	var f problem.Findings
	email := CheckEmail(&f, in.Email)
	if err := f.Err(); err != nil {
		return err
	}
	return db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := customerdb.New(tx)
		may, err := s.mayMail(ctx, q, email)
		if err != nil {
			return err
		}
		found, err := q.CustomerByEmail(ctx, email)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !may {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a customer: %w", err)
		}
		return s.mailer.Enqueue(ctx, tx, outbox.Message{Template: outbox.PasswordReset, To: email, CustomerID: found.ID})
	})
}

// resetPassword sets a password by a mailed token; every session ends, and so
// does every other such token.
func (s *Service) resetPassword(ctx context.Context, in openapi.ResetInput) error {
	var f problem.Findings
	checkPassword(&f, "/password", in.Password)
	if err := f.Err(); err != nil {
		return err
	}
	hash, err := s.passwords.Hash(ctx, in.Password)
	if err != nil {
		return err
	}
	return db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := customerdb.New(tx)
		id, err := s.takeToken(ctx, q, in.Token, outbox.PasswordReset)
		if err != nil {
			return err
		}
		email, err := q.ResetPassword(ctx, customerdb.ResetPasswordParams{ID: id, PasswordHash: hash})
		if err != nil {
			return fmt.Errorf("setting a password: %w", err)
		}
		if err := q.EndSessions(ctx, id); err != nil {
			return fmt.Errorf("ending sessions: %w", err)
		}
		if err := q.ForgetAttempts(ctx, logIns.key(email)); err != nil {
			return fmt.Errorf("forgetting log-ins: %w", err)
		}
		return s.passwordChanged(ctx, tx, id, email)
	})
}

// passwordChanged is done whichever way a password was changed.
func (s *Service) passwordChanged(ctx context.Context, tx pgx.Tx, id uuid.UUID, email string) error {
	err := customerdb.New(tx).ForgetTokens(ctx, customerdb.ForgetTokensParams{CustomerID: id, Purpose: string(outbox.PasswordReset)})
	if err != nil {
		return fmt.Errorf("forgetting tokens: %w", err)
	}
	return s.mailer.Enqueue(ctx, tx, outbox.Message{Template: outbox.PasswordChanged, To: email})
}

// changePassword takes the present password for the new one, and ends every
// session but the one that asks.
func (s *Service) changePassword(ctx context.Context, by *identity.Principal, in openapi.PasswordInput) error {
	var f problem.Findings
	checkPassword(&f, "/password", in.Password)
	f.Text("/current", in.Current, 0, 200)
	if err := f.Err(); err != nil {
		return err
	}
	q := customerdb.New(s.pool)
	row, err := q.Credentials(ctx, by.CustomerID)
	if err != nil {
		return notFound(err, by.CustomerID)
	}
	ok, _, err := s.guess(ctx, row.Email, row.PasswordHash, in.Current)
	if err != nil {
		return err
	}
	if !ok {
		return problem.Invalid(problem.Field{Pointer: "/current", Detail: "is not your password"})
	}
	hash, err := s.passwords.Hash(ctx, in.Password)
	if err != nil {
		return err
	}
	return db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := customerdb.New(tx)
		n, err := q.ReplacePassword(ctx, customerdb.ReplacePasswordParams{ID: by.CustomerID, PasswordHash: hash, OldHash: row.PasswordHash})
		if err != nil {
			return fmt.Errorf("setting a password: %w", err)
		}
		if n == 0 {
			return problem.New(http.StatusConflict, "password_changed", "The password was changed elsewhere just now.")
		}
		if err := q.EndOtherSessions(ctx, customerdb.EndOtherSessionsParams{CustomerID: by.CustomerID, Kept: by.SessionID}); err != nil {
			return fmt.Errorf("ending sessions: %w", err)
		}
		return s.passwordChanged(ctx, tx, by.CustomerID, row.Email)
	})
}

// guess checks a password against a hash, which is empty for an address
// without an account, within the bound for the address. What is right forgets
// what was wrong before.
func (s *Service) guess(ctx context.Context, email, hash, password string) (ok, stale bool, err error) {
	q := customerdb.New(s.pool)
	wait, err := logIns.try(ctx, q, email, s.now())
	if err != nil {
		return false, false, err
	}
	if wait > 0 {
		return false, false, tooMany(wait)
	}
	ok, stale, err = s.passwords.Check(ctx, hash, password)
	if err != nil || !ok {
		return false, false, err
	}
	if err := q.ForgetAttempts(ctx, logIns.key(email)); err != nil {
		return false, false, fmt.Errorf("forgetting log-ins: %w", err)
	}
	return true, stale, nil
}
