package idempotency

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency/idempotencydb"
)

// Find gives the answer that is kept for a request. Without one, found is
// false. Another body under its key is a *problem.Problem with status 409.
func Find(ctx context.Context, q idempotencydb.DBTX, r Request) (answer Answer, found bool, err error) {
	if r.Key == "" {
		return Answer{}, false, nil
	}
	kept, err := idempotencydb.New(q).Find(ctx, idempotencydb.FindParams{Scope: r.Scope, Key: r.Key, Lifetime: Lifetime})
	if errors.Is(err, pgx.ErrNoRows) {
		return Answer{}, false, nil
	}
	if err != nil {
		return Answer{}, false, fmt.Errorf("looking for an answer: %w", err)
	}
	hash := sha256.Sum256(r.Body)
	answer, err = replayed(kept.RequestHash, hash[:], kept.Status, kept.Body)
	return answer, err == nil, err
}

// Many are requests that one transaction answers together: Claim, then Answer
// or nothing for each, then Keep. Requests without a key need no answer kept.
// No two may have the same scope and key.
type Many struct {
	claimed map[id]bool
	kept    idempotencydb.KeepAllParams
}

type id struct{ scope, key string }

// Claim takes the keys of the requests, or finds that they were answered, when
// the statements are sent.
func Claim(ctx context.Context, statements *batch.Statements, requests []Request) *Many {
	m := &Many{claimed: map[id]bool{}}
	params := idempotencydb.ClaimAllParams{Lifetime: Lifetime}
	for _, r := range requests {
		if r.Key == "" {
			continue
		}
		hash := sha256.Sum256(r.Body)
		params.Scopes = append(params.Scopes, r.Scope)
		params.Keys = append(params.Keys, r.Key)
		params.RequestHashes = append(params.RequestHashes, hash[:])
	}
	if len(params.Keys) == 0 {
		return m
	}
	statements.Add(func(db batch.DB) error {
		rows, err := idempotencydb.New(db).ClaimAll(ctx, params)
		if err != nil {
			return fmt.Errorf("claiming keys: %w", err)
		}
		for _, r := range rows {
			m.claimed[id{r.Scope, r.Key}] = true
		}
		return nil
	})
	return m
}

// Answered reports whether the request's key was answered before; Find then
// has the answer.
func (m *Many) Answered(r Request) bool { return r.Key != "" && !m.claimed[id{r.Scope, r.Key}] }

// Answer notes the answer to a claimed request.
func (m *Many) Answer(r Request, a Answer) {
	if r.Key == "" {
		return
	}
	delete(m.claimed, id{r.Scope, r.Key})
	m.kept.Scopes = append(m.kept.Scopes, r.Scope)
	m.kept.Keys = append(m.kept.Keys, r.Key)
	m.kept.Statuses = append(m.kept.Statuses, int32(a.Status))
	m.kept.Bodies = append(m.kept.Bodies, a.Body)
}

// Keep stores the answers, and frees the keys of requests that got none.
func (m *Many) Keep(ctx context.Context, statements *batch.Statements) {
	if len(m.kept.Keys) > 0 {
		statements.Add(func(db batch.DB) error {
			if err := idempotencydb.New(db).KeepAll(ctx, m.kept); err != nil {
				return fmt.Errorf("keeping answers: %w", err)
			}
			return nil
		})
	}
	var free idempotencydb.FreeAllParams
	for k := range m.claimed {
		free.Scopes = append(free.Scopes, k.scope)
		free.Keys = append(free.Keys, k.key)
	}
	if len(free.Keys) == 0 {
		return
	}
	statements.Add(func(db batch.DB) error {
		if err := idempotencydb.New(db).FreeAll(ctx, free); err != nil {
			return fmt.Errorf("freeing keys: %w", err)
		}
		return nil
	})
}
