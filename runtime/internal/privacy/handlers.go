package privacy

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the part of openapi.ServerInterface that is about personal data.
type Handlers struct{ Privacy *Privacy }

// GetMyPersonalData answers GET /me/personal-data.
func (h Handlers) GetMyPersonalData(c *gin.Context) {
	h.export(c, asked{customerID: identity.Of(c).CustomerID})
}

// GetPersonalData answers GET /personal-data.
func (h Handlers) GetPersonalData(c *gin.Context, params openapi.GetPersonalDataParams) {
	a, err := askedBy("customerId", "email", params.CustomerId, params.Email)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	h.export(c, a)
}

const (
	// longestExport is for how long a document is written: as long as its reader
	// goes on reading.
	longestExport = time.Hour
	// readsOn is how long a reader may take for a page.
	readsOn = 30 * time.Second
)

// export writes the document while it is read. What fails on the way breaks the
// connection, so that nobody takes a part for the whole.
func (h Handlers) export(c *gin.Context, a asked) {
	p, account, err := h.Privacy.find(c.Request.Context(), a)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), longestExport)
	defer cancel()
	c.Header("Cache-Control", "private, no-store")
	c.Header("Content-Type", "application/json; charset=utf-8")
	c.Header("Content-Disposition", `attachment; filename="personal-data.json"`)
	connection := http.NewResponseController(c.Writer)
	d := newDocument(c.Writer, func() error {
		c.Writer.Flush()
		_ = connection.SetWriteDeadline(time.Now().Add(readsOn)) // where it can be set
		return nil
	})
	if err := h.Privacy.write(ctx, d, p, account); err != nil {
		h.Privacy.log.ErrorContext(ctx, "a document of personal data broke off", "requestId", secure.RequestIDOf(c), "error", err)
		panic(http.ErrAbortHandler)
	}
}

// EraseMe answers POST /me/erasure.
func (h Handlers) EraseMe(c *gin.Context) {
	in, ok := rest.Read[openapi.EraseMeInput](c)
	if !ok {
		return
	}
	s, me := h.Privacy, identity.Of(c)
	err := s.customers.CheckOwnPassword(c.Request.Context(), me.CustomerID, "/password", in.Password)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), patience)
		defer cancel()
		err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
			there, err := holdAccount(ctx, tx, me.CustomerID)
			if err != nil || !there { // another request of theirs erased them meanwhile
				return err
			}
			_, err = s.erase(ctx, tx, asked{customerID: me.CustomerID}, me.Actor())
			return err
		})
	}
	if err == nil {
		identity.ClearCookies(c)
	}
	rest.NoContent(c, err)
}

// CreateErasure answers POST /erasures.
func (h Handlers) CreateErasure(c *gin.Context, params openapi.CreateErasureParams) {
	answer, err := h.erase(c, params.IdempotencyKey)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	rest.Answer(c, answer)
}

func (h Handlers) erase(c *gin.Context, key *string) (answer idempotency.Answer, err error) {
	var in openapi.ErasureInput
	body, err := strictjson.Read(c.Request, &in)
	if err != nil {
		return answer, err
	}
	s, actor := h.Privacy, identity.Of(c).Actor()
	// What tells one body from another is kept for a day; unlike a plain hash, the
	// seal gives nobody a quick way to try addresses.
	seal, err := s.keys.Seal("erasure", body)
	if err != nil {
		return answer, err
	}
	request, err := rest.Once(c, key, seal)
	if err != nil {
		return answer, err
	}
	a, err := askedBy("/customerId", "/email", in.CustomerId, in.Email)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), patience)
	defer cancel()
	return idempotency.Do(ctx, s.pool, request, func(tx pgx.Tx) (idempotency.Answer, error) {
		done, err := s.erase(ctx, tx, a, actor)
		if err != nil {
			return idempotency.Answer{}, err
		}
		encoded, err := json.Marshal(done)
		return idempotency.Answer{Status: http.StatusCreated, Body: encoded}, err
	})
}

// ListErasures answers GET /erasures.
func (h Handlers) ListErasures(c *gin.Context, params openapi.ListErasuresParams) {
	const list = "erasures"
	before, size, err := rest.Paging(params.Limit, params.Cursor, list)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found, err := h.Privacy.list(c.Request.Context(), before, size)
	page, next := rest.Page(found, size, list, func(e openapi.Erasure) uuid.UUID { return e.Id })
	rest.JSON(c, http.StatusOK, openapi.ErasurePage{Erasures: page, NextCursor: next}, err)
}
