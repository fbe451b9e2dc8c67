package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/identity/identitydb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// TicketLifetime is how soon a ticket has to be used.
const TicketLifetime = 30 * time.Second

// Bearer finds out who shows an access token or an API key. A credential that
// opens nothing is an error of which Refused knows.
func (a *Authenticator) Bearer(ctx context.Context, token string) (*Principal, error) {
	return a.principal(ctx, "Bearer "+token)
}

// Refused reports whether an error is about the credential, and not about the
// store that could not look it up.
func Refused(err error) bool { return errors.Is(err, errRefused) }

// Ticket makes a ticket for somebody, which opens one socket within
// TicketLifetime. Who showed no credentials gets none.
func (a *Authenticator) Ticket(ctx context.Context, p *Principal) (ticket string, expires time.Time, err error) {
	if p.Anonymous() {
		return "", time.Time{}, unauthorized("A ticket is for who shows credentials.")
	}
	ticket, expires = rand.Text(), a.now().Add(TicketLifetime)
	hash := sha256.Sum256([]byte(ticket))
	row := identitydb.InsertTicketParams{
		Hash: hash[:], SessionID: optional.Of(p.SessionID), CustomerID: optional.Of(p.CustomerID), KeyID: optional.Of(p.KeyID),
		Until: optional.Of(p.Expires), ExpiresAt: expires,
	}
	if p.byFirstKey() {
		row.FirstKey = p.firstKey[:]
	}
	err = identitydb.New(a.pool).InsertTicket(ctx, row)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("storing a ticket: %w", err)
	}
	return ticket, expires, nil
}

// Redeem finds out who shows a ticket, and ends it. The ticket opens no more
// than the credentials that it was made for do now.
func (a *Authenticator) Redeem(ctx context.Context, ticket string) (*Principal, error) {
	if ticket == "" || len(ticket) > longestToken {
		return nil, errRefused
	}
	q, hash, now := identitydb.New(a.pool), sha256.Sum256([]byte(ticket)), a.now()
	row, err := q.TakeTicket(ctx, hash[:])
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (!row.ExpiresAt.After(now) || row.Until != nil && !row.Until.After(now)) {
		return nil, errRefused
	}
	if err != nil {
		return nil, fmt.Errorf("taking a ticket: %w", err)
	}
	expires := optional.Value(row.Until).UTC()
	switch {
	case row.SessionID != nil && row.CustomerID != nil:
		return a.inSession(ctx, *row.CustomerID, *row.SessionID, expires, now)
	case row.KeyID != nil:
		key, err := q.APIKeyByID(ctx, identitydb.APIKeyByIDParams{ID: *row.KeyID, Now: now})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, errRefused
		}
		if err != nil {
			return nil, fmt.Errorf("looking up an API key: %w", err)
		}
		return &Principal{KeyID: key.ID, KeyName: key.Name, Scopes: key.Scopes, Expires: expires}, nil
	case len(row.FirstKey) == len(keyHash{}) && a.isFirstKey(ctx, keyHash(row.FirstKey)):
		return firstPrincipal(keyHash(row.FirstKey)), nil
	}
	return nil, errRefused
}

// ForgetTickets removes those that nobody used, and returns how many.
func (a *Authenticator) ForgetTickets(ctx context.Context) (int64, error) {
	n, err := identitydb.New(a.pool).ForgetTickets(ctx, a.now())
	if err != nil {
		return 0, fmt.Errorf("forgetting tickets: %w", err)
	}
	return n, nil
}

// StillHold returns those of the principals whose credentials hold now as they
// did: whose session or key has not ended or been replaced, and who has the same
// role.
func (a *Authenticator) StillHold(ctx context.Context, all []*Principal) (map[*Principal]bool, error) {
	var asked identitydb.HoldingParams
	asked.Now = a.now()
	for _, p := range all {
		switch {
		case p.SessionID != uuid.Nil:
			asked.SessionIds = append(asked.SessionIds, p.SessionID)
		case p.KeyID != uuid.Nil:
			asked.KeyIds = append(asked.KeyIds, p.KeyID)
		}
	}
	roles := map[uuid.UUID]string{}
	if len(asked.SessionIds)+len(asked.KeyIds) > 0 {
		rows, err := identitydb.New(a.pool).Holding(ctx, asked)
		if err != nil {
			return nil, fmt.Errorf("looking up sessions and keys: %w", err)
		}
		for _, r := range rows {
			roles[r.ID] = r.Role
		}
	}
	hold := make(map[*Principal]bool, len(all))
	for _, p := range all {
		role, known := roles[p.SessionID]
		_, key := roles[p.KeyID]
		switch {
		case !p.Expires.IsZero() && !p.Expires.After(asked.Now):
		case p.SessionID != uuid.Nil:
			hold[p] = known && openapi.Role(role) == p.Role
		case p.KeyID != uuid.Nil:
			hold[p] = key
		case p.byFirstKey():
			hold[p] = a.isFirstKey(ctx, p.firstKey)
		}
	}
	return hold, nil
}

type principalInContext struct{}

// With is a context of a request by somebody who showed their credentials
// before, as who opened a socket does; see Identify.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalInContext{}, p)
}
