// Package idempotency makes a request that creates something safe to repeat:
// the same key and body give the first answer again, and have one effect.
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency/idempotencydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// Lifetime is how long an answer is kept.
const Lifetime = 24 * time.Hour

// Request is what is to be done once.
type Request struct {
	// Scope is the operation and whoever asks for it; keys of different
	// scopes are different keys.
	Scope string
	// Key is the caller's. Empty means that the caller asked for no safety.
	Key  string
	Body []byte
}

// NewRequest is a request under a caller's key, nil for none. A key that is
// not 1 to 255 printable ASCII characters is a *problem.Problem.
func NewRequest(scope string, key *string, body []byte) (Request, error) {
	r := Request{Scope: scope, Body: body}
	if key == nil {
		return r, nil
	}
	r.Key = *key
	valid := len(r.Key) >= 1 && len(r.Key) <= 255
	for _, b := range []byte(r.Key) {
		valid = valid && b >= ' ' && b <= '~'
	}
	if !valid {
		return r, problem.Invalid(problem.Field{Pointer: "Idempotency-Key", Detail: "must be 1 to 255 printable ASCII characters"})
	}
	return r, nil
}

// Answer is what the caller is told.
type Answer struct {
	Status int
	Body   []byte
	// Replayed is set where the effect was there already.
	Replayed bool
}

// Do runs effect in a transaction that also keeps its answer, or gives the
// answer that was kept. An error of effect undoes everything, the key too. Of
// two at once the second waits for the first. Another body under a known key
// is a *problem.Problem with status 409.
func Do(ctx context.Context, pool *pgxpool.Pool, r Request, effect func(pgx.Tx) (Answer, error)) (Answer, error) {
	var answer Answer
	hash := sha256.Sum256(r.Body)
	err := db.WithTx(ctx, pool, func(tx pgx.Tx) (err error) {
		if r.Key == "" {
			answer, err = effect(tx)
			return err
		}
		q := idempotencydb.New(tx)
		claimed, err := q.Claim(ctx, idempotencydb.ClaimParams{Scope: r.Scope, Key: r.Key, RequestHash: hash[:], Lifetime: Lifetime})
		if err != nil {
			return err
		}
		if claimed == 0 {
			answer, err = replay(ctx, q, r, hash[:])
			return err
		}
		if answer, err = effect(tx); err != nil {
			return err
		}
		return q.Keep(ctx, idempotencydb.KeepParams{Scope: r.Scope, Key: r.Key, Status: int32(answer.Status), Body: answer.Body})
	})
	return answer, err
}

func replay(ctx context.Context, q *idempotencydb.Queries, r Request, hash []byte) (Answer, error) {
	kept, err := q.Answer(ctx, idempotencydb.AnswerParams{Scope: r.Scope, Key: r.Key})
	if err != nil {
		return Answer{}, err
	}
	return replayed(kept.RequestHash, hash, kept.Status, kept.Body)
}

func replayed(keptHash, hash []byte, status int32, body []byte) (Answer, error) {
	if !bytes.Equal(keptHash, hash) {
		return Answer{}, problem.New(http.StatusConflict, "idempotency_key_reused",
			"This Idempotency-Key was used for a request with another body; take a new key.")
	}
	return Answer{Status: int(status), Body: body, Replayed: true}, nil
}

// Purge forgets answers older than Lifetime and returns how many.
func Purge(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	return idempotencydb.New(pool).Purge(ctx, Lifetime)
}
