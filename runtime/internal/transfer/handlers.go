package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/internal/transfer/transferdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the imports' and exports' part of openapi.ServerInterface.
type Handlers struct{ Transfers *Transfers }

// CreateImport answers POST /imports.
func (h Handlers) CreateImport(c *gin.Context, params openapi.CreateImportParams) {
	who := identity.Of(c)
	rest.Create(c, h.Transfers.pool, rest.Creation[openapi.ImportInput, openapi.Import]{
		Key: params.IdempotencyKey,
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.ImportInput) (openapi.Import, error) {
			return h.Transfers.begin(ctx, tx, who, in)
		},
		Location: func(made openapi.Import) string { return "/imports/" + made.Id.String() },
	})
}

// ListImports answers GET /imports.
func (h Handlers) ListImports(c *gin.Context, params openapi.ListImportsParams) {
	page, err := h.list(c.Request.Context(), identity.Of(c), params)
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) list(ctx context.Context, who *identity.Principal, params openapi.ListImportsParams) (openapi.ImportPage, error) {
	page := openapi.ImportPage{Imports: []openapi.Import{}}
	before, size, err := rest.Paging(params.Limit, params.Cursor, "imports")
	if err != nil {
		return page, err
	}
	var kinds []string
	for name, k := range h.Transfers.kinds {
		if a := k.about(); a.writeScope != "" && who.Can(a.writeScope) {
			kinds = append(kinds, name)
		}
	}
	rows, err := transferdb.New(h.Transfers.pool).ListImports(ctx, transferdb.ListImportsParams{Before: before, Kinds: kinds, PageSize: size})
	if err != nil {
		return page, fmt.Errorf("listing imports: %w", err)
	}
	rows, page.NextCursor = rest.Page(rows, size, "imports", func(r transferdb.Import) uuid.UUID { return r.ID })
	for _, r := range rows {
		page.Imports = append(page.Imports, shown(r))
	}
	return page, nil
}

// GetImport answers GET /imports/{id}.
func (h Handlers) GetImport(c *gin.Context, id uuid.UUID) {
	row, _, err := h.Transfers.find(c.Request.Context(), identity.Of(c), id)
	rest.JSON(c, http.StatusOK, shown(row), err)
}

// ContinueImport answers PATCH /imports/{id}.
func (h Handlers) ContinueImport(c *gin.Context, id uuid.UUID, params openapi.ContinueImportParams) {
	data, err := io.ReadAll(c.Request.Body) // bounded by the server
	if err != nil {
		rest.Fail(c, err)
		return
	}
	last, err := isComplete(params.UploadComplete)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	out, err := h.Transfers.proceed(c.Request.Context(), identity.Of(c), id, params.UploadOffset, data, last)
	rest.JSON(c, http.StatusOK, out, err)
}

// isComplete reads Upload-Complete, also as a boolean of RFC 9651, as the drafts
// of resumable uploads have it.
func isComplete(header *string) (bool, error) {
	switch text := optional.Value(header); text {
	case "", "?0":
		return false, nil
	case "?1":
		return true, nil
	default:
		last, err := strconv.ParseBool(text)
		if err != nil {
			return false, problem.Invalid(problem.Field{Pointer: "Upload-Complete", Detail: "must be true or false, or ?1 or ?0"})
		}
		return last, nil
	}
}

// ListImportRefusals answers GET /imports/{id}/refusals.
func (h Handlers) ListImportRefusals(c *gin.Context, id uuid.UUID, params openapi.ListImportRefusalsParams) {
	page, err := h.refusals(c.Request.Context(), identity.Of(c), id, params)
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) refusals(ctx context.Context, who *identity.Principal, id uuid.UUID, params openapi.ListImportRefusalsParams) (openapi.ImportRefusalList, error) {
	list := openapi.ImportRefusalList{Refusals: []openapi.ImportRefusal{}}
	asked := transferdb.ListRefusalsParams{ImportID: id}
	limit, err := rest.Limit(params.Limit)
	if err == nil {
		err = rest.Place(params.Cursor, "refusals", &asked.After)
	}
	if err == nil {
		_, _, err = h.Transfers.find(ctx, who, id)
	}
	if err != nil {
		return list, err
	}
	asked.PageSize = int32(limit + 1)
	rows, err := transferdb.New(h.Transfers.pool).ListRefusals(ctx, asked)
	if err != nil {
		return list, fmt.Errorf("listing refusals: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		list.NextCursor = new(rest.Cursor("refusals", rows[limit-1].Row))
	}
	for _, r := range rows {
		one := openapi.ImportRefusal{Row: r.Row, Code: r.Code, Detail: r.Detail}
		if err := json.Unmarshal(r.Errors, &one.Errors); err != nil {
			return list, fmt.Errorf("the refusal of row %d: %w", r.Row, err)
		}
		list.Refusals = append(list.Refusals, one)
	}
	return list, nil
}

// ExportRecords answers GET /exports/{kind}.
func (h Handlers) ExportRecords(c *gin.Context, kind openapi.TransferKind, params openapi.ExportRecordsParams) {
	cursor := ""
	if params.Cursor != nil {
		cursor = *params.Cursor
	}
	body, next, err := h.Transfers.export(c.Request.Context(), identity.Of(c), string(kind), string(params.Format), cursor)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	if next != "" {
		query := url.Values{"format": {string(params.Format)}, "cursor": {next}}
		c.Header("Link", "</api/v1/exports/"+url.PathEscape(string(kind))+"?"+query.Encode()+`>; rel="next"`)
	}
	c.Header("Cache-Control", "private, no-store")
	c.Header("Content-Length", strconv.Itoa(len(body)))
	contentType := "text/csv; charset=utf-8"
	if params.Format == formatLines {
		contentType = "application/jsonl; charset=utf-8"
	}
	c.Data(http.StatusOK, contentType, body)
}
