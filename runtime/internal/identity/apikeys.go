package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/identity/identitydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	liveKey = "sk_live_"
	testKey = "sk_test_"
	// hintLength is how much of a key is kept to tell keys apart.
	hintLength = len(liveKey) + 4
	// usedInterval is how exactly it is known when a key was last used.
	usedInterval = time.Minute
)

var keyPattern = regexp.MustCompile(`^sk_(live|test)_[A-Z2-7]{32}$`)

// APIKeys are the store's keys for programs, save for the first one. Only
// their hashes are stored.
type APIKeys struct {
	pool *pgxpool.Pool
	now  func() time.Time
}

// NewAPIKeys keeps the keys in the database.
func NewAPIKeys(pool *pgxpool.Pool, now func() time.Time) *APIKeys {
	return &APIKeys{pool: pool, now: now}
}

// Create makes a key on behalf of by, who can give no scope that they lack.
// What is wrong with the input comes back as a *problem.Problem.
func (k *APIKeys) Create(ctx context.Context, by *Principal, in openapi.ApiKeyInput) (openapi.CreatedApiKey, error) {
	now := k.now()
	var f problem.Findings
	f.Text("/name", in.Name, 1, 100)
	f.Require(len(in.Scopes) >= 1 && len(in.Scopes) <= 50, "/scopes", "must have 1 to 50 items, has %d", len(in.Scopes))
	for i, scope := range in.Scopes {
		f.Require(ValidScope(scope), fmt.Sprintf("/scopes/%d", i), "must be %s, a colon, and %s", problem.Words(resources, "or"), problem.Words(levels, "or"))
	}
	f.Require(in.ExpiresAt == nil || in.ExpiresAt.After(now), "/expiresAt", "must be in the future")
	if err := f.Err(); err != nil {
		return openapi.CreatedApiKey{}, err
	}
	for _, scope := range in.Scopes {
		if !by.Can(scope) {
			return openapi.CreatedApiKey{}, forbidden("You cannot give the scope %s, which you do not have.", scope)
		}
	}
	slices.Sort(in.Scopes)
	prefix := liveKey
	if in.Test != nil && *in.Test {
		prefix = testKey
	}
	random := make([]byte, 20) // 32 characters of base32
	_, _ = rand.Read(random)   // it never fails
	secret := prefix + base32.StdEncoding.EncodeToString(random)
	hash := sha256.Sum256([]byte(secret))
	key := openapi.ApiKey{
		Id: uuid.Must(uuid.NewV7()), Name: in.Name, Hint: secret[:hintLength], Scopes: slices.Compact(in.Scopes),
		CreatedAt: now.UTC(), ExpiresAt: utc(in.ExpiresAt),
	}
	err := identitydb.New(k.pool).InsertAPIKey(ctx, identitydb.InsertAPIKeyParams{
		ID: key.Id, Name: key.Name, Hash: hash[:], Hint: key.Hint, Scopes: key.Scopes, CreatedAt: key.CreatedAt, ExpiresAt: key.ExpiresAt,
	})
	if err != nil {
		return openapi.CreatedApiKey{}, fmt.Errorf("storing an API key: %w", err)
	}
	return openapi.CreatedApiKey{ApiKey: key, Secret: secret}, nil
}

// List reads keys before an id, newest first.
func (k *APIKeys) List(ctx context.Context, before uuid.UUID, size int32) ([]openapi.ApiKey, error) {
	rows, err := identitydb.New(k.pool).ListAPIKeys(ctx, identitydb.ListAPIKeysParams{Before: before, PageSize: size})
	if err != nil {
		return nil, fmt.Errorf("listing API keys: %w", err)
	}
	keys := make([]openapi.ApiKey, len(rows))
	for i, r := range rows {
		keys[i] = openapi.ApiKey{
			Id: r.ID, Name: r.Name, Hint: r.Hint, Scopes: r.Scopes, CreatedAt: r.CreatedAt.UTC(),
			ExpiresAt: utc(r.ExpiresAt), RevokedAt: utc(r.RevokedAt), LastUsedAt: utc(r.LastUsedAt),
		}
	}
	return keys, nil
}

// Revoke makes a key open nothing from now on; to do so again changes nothing.
func (k *APIKeys) Revoke(ctx context.Context, id uuid.UUID) error {
	n, err := identitydb.New(k.pool).RevokeAPIKey(ctx, identitydb.RevokeAPIKeyParams{ID: id, Now: k.now()})
	if err != nil {
		return fmt.Errorf("revoking an API key: %w", err)
	}
	if n == 0 {
		return problem.New(http.StatusNotFound, "api_key_not_found", "No API key has the id %s.", id)
	}
	return nil
}

// find says who holds a key that is neither revoked nor expired, and notes
// that it was used.
func (k *APIKeys) find(ctx context.Context, secret string, log *slog.Logger) (*Principal, error) {
	if !keyPattern.MatchString(secret) {
		return nil, errRefused
	}
	q, hash, now := identitydb.New(k.pool), sha256.Sum256([]byte(secret)), k.now()
	row, err := q.APIKeyByHash(ctx, identitydb.APIKeyByHashParams{Hash: hash[:], Now: now})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errRefused
	}
	if err != nil {
		return nil, fmt.Errorf("looking up an API key: %w", err)
	}
	if before := now.Add(-usedInterval); row.LastUsedAt == nil || !row.LastUsedAt.After(before) {
		// A database that only reads is no reason to refuse the key.
		if err := q.TouchAPIKey(ctx, identitydb.TouchAPIKeyParams{ID: row.ID, Now: now, Before: before}); err != nil {
			log.WarnContext(ctx, "the use of an API key was not noted", "keyId", row.ID, "error", err)
		}
	}
	p := &Principal{KeyID: row.ID, KeyName: row.Name, Scopes: row.Scopes}
	if row.ExpiresAt != nil {
		p.Expires = row.ExpiresAt.UTC()
	}
	return p, nil
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
