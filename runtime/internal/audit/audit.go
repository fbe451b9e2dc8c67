// Package audit records what staff and programs do to the store: who, what,
// before and after, from where. It owns the table audit, to which rows are only
// added.
//
// Triggers write them (migration 00016), in the transaction of the act: so
// whatever code changes an audited table is recorded, and what is rolled back
// is not. They know who acts by a setting of the connection, which package db
// gives it for a context that Middleware, or a command, has made with Acting.
// Without one, as for buyers and for the store itself, nothing is recorded.
//
// A table of which staff change something is audited by a line in the
// migration that makes it: SELECT audit_table('things', 'thing', 'id').
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/internal/audit/auditdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
)

// Act is what is known of one beside what it changes.
type Act struct {
	// Actor is who, as identity.Principal.Actor says it, or "command" for who may
	// run one beside the store.
	Actor string `json:"actor"`
	// Action is an operationId of openapi.yaml, a method and a path that are none
	// of it, or a command.
	Action string `json:"action"`
	// Address and UserAgent say from where; empty for a command.
	Address   string `json:"address"`
	UserAgent string `json:"userAgent"`
	RequestID string `json:"requestId"`
}

// maxWord bounds what is kept of a caller's word, in bytes.
const maxWord = 300

// Acting is a context in which what is written to the database belongs to the
// act.
func Acting(ctx context.Context, a Act) context.Context {
	a.UserAgent = plain(a.UserAgent)
	raw, err := json.Marshal(a)
	if err != nil { // strings always marshal
		panic(err)
	}
	return db.Acting(ctx, string(raw))
}

// plain is text that PostgreSQL takes and people can read.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxWord {
		s = strings.ToValidUTF8(s[:maxWord], "")
	}
	return s
}

// Middleware has recorded what those change who have scopes: staff, and
// programs with a key, also by the pages that the store serves them. The
// document names the operations.
func Middleware(document []byte) (gin.HandlerFunc, error) {
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := yaml.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	actions := map[string]string{}
	for path, methods := range doc.Paths {
		route := strings.NewReplacer("{", ":", "}", "").Replace(path)
		for method, o := range methods {
			actions[strings.ToUpper(method)+" "+route] = o.OperationID
		}
	}
	return func(c *gin.Context) {
		who := identity.Of(c)
		if c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead || len(who.Scopes) == 0 {
			return
		}
		action := actions[c.Request.Method+" "+strings.TrimPrefix(c.FullPath(), "/api/v1")]
		if action == "" { // as of the pages of jobs
			action = plain(c.Request.Method + " " + c.Request.URL.Path)
		}
		c.Request = c.Request.WithContext(Acting(c.Request.Context(), Act{
			Actor: who.Actor(), Action: action, Address: secure.ClientOf(c).String(), UserAgent: c.Request.UserAgent(), RequestID: secure.RequestIDOf(c),
		}))
	}, nil
}

// Log reads what was recorded.
type Log struct{ pool *pgxpool.Pool }

// New reads the log in the database.
func New(pool *pgxpool.Pool) *Log { return &Log{pool: pool} }

// list reads entries, the newest first.
func (l *Log) list(ctx context.Context, p auditdb.EntriesParams) ([]auditdb.EntriesRow, error) {
	rows, err := auditdb.New(l.pool).Entries(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return rows, nil
}

// Forget removes entries that are older than 400 days, and returns how many.
func (l *Log) Forget(ctx context.Context) (int64, error) {
	const most = 1000
	for total := int64(0); ; {
		n, err := auditdb.New(l.pool).Forget(ctx, most)
		if total += n; err != nil {
			return total, fmt.Errorf("forgetting old entries of the audit log: %w", err)
		}
		if n < most {
			return total, nil
		}
	}
}

// ever is what a time stands for that is left out.
func ever(t *time.Time, instead time.Time) time.Time {
	if t == nil {
		return instead
	}
	return *t
}
