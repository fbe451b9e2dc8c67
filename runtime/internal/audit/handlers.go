package audit

import (
	"encoding/json"
	"math"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/internal/audit/auditdb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the audit log's part of openapi.ServerInterface.
type Handlers struct{ Log *Log }

// The times between which all entries are.
var (
	beginning = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	end       = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

// ListAudit answers GET /audit.
func (h Handlers) ListAudit(c *gin.Context, params openapi.ListAuditParams) {
	const list = "audit"
	p := auditdb.EntriesParams{
		Before: math.MaxInt64, Actor: optional.Value(params.Actor), Action: optional.Value(params.Action), Object: optional.Value(params.Object),
		ObjectID: optional.Value(params.ObjectId), RequestID: optional.Value(params.RequestId), Words: optional.Value(params.Q),
		First: ever(params.From, beginning), Last: ever(params.To, end),
	}
	limit, err := rest.Limit(params.Limit)
	if err == nil {
		err = check(p)
	}
	if err == nil {
		err = rest.Place(params.Cursor, list, &p.Before)
	}
	if err != nil {
		rest.Fail(c, err)
		return
	}
	p.PageSize = int32(limit + 1)
	rows, err := h.Log.list(c.Request.Context(), p)
	page := openapi.AuditPage{Entries: make([]openapi.AuditEntry, 0, len(rows))}
	if len(rows) > limit {
		rows = rows[:limit]
		page.NextCursor = new(rest.Cursor(list, rows[limit-1].Sequence))
	}
	for _, r := range rows {
		page.Entries = append(page.Entries, openapi.AuditEntry{
			Id: r.Sequence, At: r.At.UTC(), Actor: r.Actor, Action: r.Action, Change: openapi.AuditChange(r.Change), Object: r.Object, ObjectId: r.ObjectID,
			Before: object(r.Before), After: object(r.After), Address: optional.Of(r.Address), UserAgent: optional.Of(r.UserAgent), RequestId: optional.Of(r.RequestID),
		})
	}
	rest.JSON(c, http.StatusOK, page, err)
}

func object(raw []byte) *json.RawMessage {
	if raw == nil {
		return nil
	}
	return new(json.RawMessage(raw))
}

func check(p auditdb.EntriesParams) error {
	var f problem.Findings
	for name, text := range map[string]string{"actor": p.Actor, "action": p.Action, "object": p.Object, "objectId": p.ObjectID, "requestId": p.RequestID} {
		f.Text(name, text, 0, 100)
	}
	f.Text("q", p.Words, 0, 200)
	f.Require(p.First.Year() >= 0 && p.Last.Year() <= 9999, "from", "is beyond all times")
	return f.Err()
}
