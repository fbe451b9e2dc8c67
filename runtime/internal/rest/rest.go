// Package rest is what the handlers of every package do alike: read a body,
// answer once for an Idempotency-Key, name a page, and leave errors to the
// server. It knows no commerce.
package rest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
)

const contentType = "application/json; charset=utf-8"

// Fail leaves an error on the request for the server to answer.
func Fail(c *gin.Context, err error) {
	_ = c.Error(err) // recorded for who answers
	c.Abort()
}

// JSON answers with v, which is for this caller alone, or with err.
func JSON[T any](c *gin.Context, status int, v T, err error) {
	if err != nil {
		Fail(c, err)
		return
	}
	body, err := json.Marshal(v)
	if err != nil {
		Fail(c, err)
		return
	}
	Encoded(c, status, body)
}

// Encoded is JSON with what is JSON already.
func Encoded(c *gin.Context, status int, body []byte) {
	c.Header("Cache-Control", "private, no-store")
	c.Data(status, contentType, body)
}

// NoContent answers with nothing, or with err.
func NoContent(c *gin.Context, err error) {
	if err != nil {
		Fail(c, err)
		return
	}
	c.Header("Cache-Control", "private, no-store")
	c.Status(http.StatusNoContent)
}

// Read decodes the body into a T, strictly. What is wrong is left on the
// request, and ok is false.
func Read[T any](c *gin.Context) (in T, ok bool) {
	if _, err := strictjson.Read(c.Request, &in); err != nil {
		Fail(c, err)
		return in, false
	}
	return in, true
}

// Creation is a request that creates a T of an In.
type Creation[In, T any] struct {
	// Key is the request's Idempotency-Key, nil for none.
	Key *string
	// Prepare looks at the input first; nil for nothing. It is where to read
	// through the pool: who asks it for a second connection while holding one
	// in a transaction waits, when all do so, for ever.
	Prepare func(ctx context.Context, in In) error
	// Effect does it, in a transaction that also keeps the answer.
	Effect func(ctx context.Context, tx pgx.Tx, in In) (T, error)
	// Alone does it for a request without a key, so with no answer to keep; nil
	// for Effect in a transaction.
	Alone func(ctx context.Context, in In) (T, error)
	// Location is the path of what was made, below /api/v1; nil for none.
	Location func(T) string
	// Translate says what an error of the transaction means; nil leaves it.
	Translate func(err error, in In) error
	// Present says what to answer in place of what was made and kept, such as
	// with a secret that must not be kept; nil for the thing itself.
	Present func(ctx context.Context, made T) (any, error)
	// After is done when there was an effect; nil for nothing.
	After func(ctx context.Context, made T)
}

// Create reads the body and answers 201 with what Effect makes, once for the
// caller, the path and the key.
func Create[In, T any](c *gin.Context, pool *pgxpool.Pool, r Creation[In, T]) {
	in, request, ok := ReadOnce[In](c, r.Key)
	if !ok {
		return
	}
	ctx := c.Request.Context()
	made, answer, err := r.do(ctx, pool, request, in)
	if err != nil {
		Fail(c, err)
		return
	}
	if answer.Replayed {
		if err := json.Unmarshal(answer.Body, &made); err != nil {
			Fail(c, err)
			return
		}
	} else if r.After != nil {
		r.After(ctx, made)
	}
	if r.Present != nil {
		presented, err := r.Present(ctx, made)
		if err == nil {
			answer.Body, err = json.Marshal(presented)
		}
		if err != nil {
			Fail(c, err)
			return
		}
	}
	if r.Location != nil {
		c.Header("Location", "/api/v1"+r.Location(made))
	}
	Answer(c, answer)
}

// do makes it, or finds the answer that is kept; then nothing was made.
func (r *Creation[In, T]) do(ctx context.Context, pool *pgxpool.Pool, request idempotency.Request, in In) (made T, answer idempotency.Answer, err error) {
	if r.Prepare != nil {
		if err := r.Prepare(ctx, in); err != nil {
			// What stands against it may have come after it was done.
			if kept, found, _ := idempotency.Find(ctx, pool, request); found {
				return made, kept, nil
			}
			return made, answer, err
		}
	}
	if request.Key == "" && r.Alone != nil {
		made, err = r.Alone(ctx, in)
		if err == nil {
			answer.Status = http.StatusCreated
			answer.Body, err = json.Marshal(made)
		}
		return made, answer, err
	}
	answer, err = idempotency.Do(ctx, pool, request, func(tx pgx.Tx) (idempotency.Answer, error) {
		var err error
		if made, err = r.Effect(ctx, tx, in); err != nil {
			return idempotency.Answer{}, err
		}
		encoded, err := json.Marshal(made)
		return idempotency.Answer{Status: http.StatusCreated, Body: encoded}, err
	})
	if err != nil && r.Translate != nil {
		err = r.Translate(err, in)
	}
	return made, answer, err
}

// Answer writes an idempotent answer.
func Answer(c *gin.Context, a idempotency.Answer) {
	if a.Replayed {
		c.Header("Idempotency-Replayed", "true")
	}
	Encoded(c, a.Status, a.Body)
}

// Nothing is the body of a request that has none.
type Nothing struct{}

// ReadOnce reads the body, unless it is Nothing, and the request under its
// Idempotency-Key, nil for none; what is wrong with either is answered, and then
// ok is false.
func ReadOnce[In any](c *gin.Context, key *string) (in In, request idempotency.Request, ok bool) {
	var body []byte
	var err error
	if _, none := any(in).(Nothing); !none {
		body, err = strictjson.Read(c.Request, &in)
	}
	if err == nil {
		request, err = Once(c, key, body)
	}
	if err != nil {
		Fail(c, err)
	}
	return in, request, err == nil
}

// Once is the request under its Idempotency-Key, nil for none; a key that is
// none is a *problem.Problem.
func Once(c *gin.Context, key *string, body []byte) (idempotency.Request, error) {
	return idempotency.NewRequest(scope(c), key, body)
}

// scope tells the Idempotency-Keys of different callers and operations apart.
// Guests differ by the carts that they hold, without one by their addresses.
func scope(c *gin.Context) string {
	caller := identity.Of(c)
	actor := caller.Actor()
	if caller.Anonymous() {
		held := cmp.Or(c.GetHeader("X-Cart-Token"), secure.ClientOf(c).String())
		hash := sha256.Sum256([]byte(held)) // the token itself is not to be kept
		actor += " " + base64.RawURLEncoding.EncodeToString(hash[:])
	}
	return actor + " " + c.Request.Method + " " + strings.TrimPrefix(c.FullPath(), "/api/v1") + " " + c.Param("id")
}

// Limit is the size of the page that a caller wants.
func Limit(limit *int) (int, error) {
	const least, most, usual = 1, 100, 20
	if limit == nil {
		return usual, nil
	}
	if *limit < least || *limit > most {
		return 0, problem.Invalid(problem.Field{Pointer: "limit", Detail: "must be 1 to 100"})
	}
	return *limit, nil
}

// position is a place in a list, and which list it is a place in.
type position struct {
	At   json.RawMessage `json:"a"`
	List uint32          `json:"l"`
}

// Cursor names the place at in a list; list tells lists with different
// contents apart.
func Cursor(list string, at any) string {
	raw, err := json.Marshal(at)
	if err == nil {
		raw, err = json.Marshal(position{At: raw, List: crc32.ChecksumIEEE([]byte(list))})
	}
	if err != nil { // places are plain values
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Place reads a cursor into at, which keeps its value where there is none. A
// cursor of another list is a *problem.Problem.
func Place(cursor *string, list string, at any) error {
	if cursor == nil {
		return nil
	}
	var p position
	raw, err := base64.RawURLEncoding.DecodeString(*cursor)
	if err != nil || json.Unmarshal(raw, &p) != nil || p.List != crc32.ChecksumIEEE([]byte(list)) || json.Unmarshal(p.At, at) != nil {
		return problem.Invalid(problem.Field{Pointer: "cursor", Detail: "is not a nextCursor of this list"})
	}
	return nil
}

// Paging reads limit and cursor of a list that goes by descending id: before
// is where the page begins, size is one more than the page has, which tells
// whether there is a next one.
func Paging(limit *int, cursor *string, list string) (before uuid.UUID, size int32, err error) {
	n, err := Limit(limit)
	if err != nil {
		return uuid.Nil, 0, err
	}
	before = uuid.Max
	return before, int32(n + 1), Place(cursor, list, &before)
}

// Page cuts rows that were read with Paging to the page, and names the next.
func Page[T any](rows []T, size int32, list string, id func(T) uuid.UUID) (page []T, next *string) {
	if len(rows) < int(size) {
		return rows, nil
	}
	page = rows[:size-1]
	cursor := Cursor(list, id(page[len(page)-1]))
	return page, &cursor
}
