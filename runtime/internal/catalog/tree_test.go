package catalog_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

func (s *store) category(name string, parent *uuid.UUID) openapi.Category {
	s.t.Helper()
	body := fmt.Sprintf(`{"name":%q}`, name)
	if parent != nil {
		body = fmt.Sprintf(`{"name":%q,"parentId":%q}`, name, *parent)
	}
	return must[openapi.Category](s, http.StatusCreated, "POST", "/categories", body)
}

func TestACategoryIsReadAsItWasCreated(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	top := s.category("Clothing", nil)
	w := s.asStaff("POST", "/categories", fmt.Sprintf(`{"name":"Wärmendes","parentId":%q,"position":3,"description":"D","seo":{"description":"S"}}`, top.Id))
	c := decode[openapi.Category](t, w)
	if w.Code != 201 || c.Slug != "warmendes" || strings.Join(c.Path, "/") != "clothing/warmendes" || c.Position != 3 || *c.ParentId != top.Id || *c.Seo.Description != "S" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, path := range []string{strings.TrimPrefix(w.Header().Get("Location"), "/api/v1"), "/categories/warmendes"} {
		if got := s.do("GET", path, ""); got.Body.String() != w.Body.String() {
			t.Errorf("%s: %s, want %s", path, got.Body, w.Body)
		}
	}
	page := decode[openapi.CategoryPage](t, s.do("GET", "/categories?limit=1", ""))
	if len(page.Categories) != 1 || page.Categories[0].Id != c.Id || page.NextCursor == nil {
		t.Fatalf("got %+v", page)
	}
	page = decode[openapi.CategoryPage](t, s.do("GET", "/categories?limit=1&cursor="+*page.NextCursor, ""))
	if len(page.Categories) != 1 || page.Categories[0].Id != top.Id || page.NextCursor != nil {
		t.Fatalf("got %+v", page)
	}
	wantProblem(t, s.do("GET", "/categories/nothing", ""), 404, "category_not_found", "")
	wantProblem(t, s.do("GET", "/categories?cursor=x", ""), 400, "invalid_request", "cursor")
	for body, pointer := range map[string]string{
		`{"name":""}`: "/name", `{"name":"A","slug":"A"}`: "/slug", `{"name":"A","position":-1}`: "/position", `{"name":"A","parentId":"` + uuid.NewString() + `"}`: "/parentId",
		`{"name":"A","description":"` + strings.Repeat("x", 5001) + `"}`: "/description", `{"name":"A","path":[]}`: "/path",
	} {
		wantProblem(t, s.asStaff("POST", "/categories", body), 400, "invalid_request", pointer)
		wantProblem(t, s.asStaff("PUT", "/categories/clothing", body), 400, "invalid_request", pointer)
	}
	wantProblem(t, s.asStaff("POST", "/categories", `{"name":"Clothing"}`), 409, "slug_taken", "")
	wantProblem(t, s.asStaff("PUT", "/categories/warmendes", `{"name":"A","slug":"clothing"}`), 409, "slug_taken", "")
}

func TestASubtreeMovesWithItsProducts(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a, b := s.category("A", nil), s.category("B", nil)
	c := s.category("C", &a.Id)
	d := s.category("D", &c.Id)
	s.create(fmt.Sprintf(`"title":"Thing","categoryIds":[%q]`, d.Id))
	listed := func(category string) bool {
		return titles(t, s.do("GET", "/products?category="+category, "")) == "Thing"
	}
	if !listed("a") || listed("b") || !listed("c") || !listed("d") {
		t.Fatal("not listed in its subtree")
	}
	moved := must[openapi.Category](s, 200, "PUT", "/categories/c", fmt.Sprintf(`{"name":"See","slug":"see","parentId":%q}`, b.Id))
	if strings.Join(moved.Path, "/") != "b/see" {
		t.Errorf("moved to %v", moved.Path)
	}
	if got := must[openapi.Category](s, 200, "GET", "/categories/d", ""); strings.Join(got.Path, "/") != "b/see/d" || *got.ParentId != c.Id {
		t.Errorf("below it %+v", got)
	}
	if listed("a") || !listed("b") || !listed("see") || listed("c") || !listed(c.Id.String()) {
		t.Error("the product did not move")
	}
	for _, parent := range []uuid.UUID{c.Id, d.Id} {
		wantProblem(t, s.asStaff("PUT", "/categories/see", fmt.Sprintf(`{"name":"C","parentId":%q}`, parent)), 400, "invalid_request", "/parentId")
	}
	must[openapi.Category](s, 200, "PUT", "/categories/see", `{"name":"See"}`)
	if got := must[openapi.Category](s, 200, "GET", "/categories/d", ""); strings.Join(got.Path, "/") != "see/d" || listed("b") {
		t.Errorf("at the top %+v", got)
	}
	wantProblem(t, s.asStaff("DELETE", "/categories/see", ""), 409, "category_has_children", "")
	if w := s.asStaff("DELETE", "/categories/d", ""); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := decode[openapi.Product](t, s.do("GET", "/products/thing", "")); len(got.CategoryIds) != 0 || got.Version != 2 || listed("see") {
		t.Errorf("the product has %v", got.CategoryIds)
	}
	wantProblem(t, s.asStaff("DELETE", "/categories/d", ""), 404, "category_not_found", "")
}

func TestTheTreeHasTenLevels(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var parent *uuid.UUID
	for i := range 10 {
		c := s.category(fmt.Sprintf("L %d", i), parent)
		parent = &c.Id
	}
	wantProblem(t, s.asStaff("POST", "/categories", fmt.Sprintf(`{"name":"A","parentId":%q}`, *parent)), 400, "invalid_request", "/parentId")
	root := s.category("Root", nil)
	wantProblem(t, s.asStaff("PUT", "/categories/l-0", fmt.Sprintf(`{"name":"L","parentId":%q}`, root.Id)), 400, "invalid_request", "/parentId")
	must[openapi.Category](s, 200, "PUT", "/categories/l-1", fmt.Sprintf(`{"name":"L","parentId":%q}`, root.Id))
}

func TestACollectionHasTheProductsThatItIsGiven(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.create(`"title":"Mug"`), s.create(`"title":"Cup"`)
	w := s.asStaff("POST", "/collections", fmt.Sprintf(`{"name":"Sale","description":"D","seo":{"title":"T"},"productIds":[%q]}`, mug.Id))
	c := decode[openapi.Collection](t, w)
	if w.Code != 201 || c.Slug != "sale" || c.ProductCount != 1 || *c.Seo.Title != "T" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := s.do("GET", strings.TrimPrefix(w.Header().Get("Location"), "/api/v1"), ""); got.Body.String() != w.Body.String() {
		t.Errorf("read %s, want %s", got.Body, w.Body)
	}
	listed := func(collection string) string { return titles(t, s.do("GET", "/products?collection="+collection, "")) }
	if got := listed("sale"); got != "Mug" {
		t.Errorf("listed %q", got)
	}
	must[openapi.Collection](s, 200, "PUT", "/collections/sale", `{"name":"Bargains","slug":"bargains"}`)
	if got := listed("bargains"); got != "Mug" || listed("sale") != "" {
		t.Errorf("renamed: %q", got)
	}
	got := must[openapi.Collection](s, 200, "PUT", "/collections/bargains", fmt.Sprintf(`{"name":"Bargains","productIds":[%q]}`, cup.Id))
	if got.ProductCount != 1 || listed("bargains") != "Cup" || listed(c.Id.String()) != "Cup" {
		t.Errorf("replaced: %+v", got)
	}
	for _, ids := range []string{fmt.Sprintf(`%q,%q`, mug.Id, uuid.New()), fmt.Sprintf(`%q,%q`, mug.Id, mug.Id)} {
		wantProblem(t, s.asStaff("POST", "/collections", `{"name":"A","productIds":[`+ids+`]}`), 400, "invalid_request", "/productIds/1")
	}
	wantProblem(t, s.asStaff("POST", "/collections", `{"name":"Bargains"}`), 409, "slug_taken", "")
	s.asStaff("POST", "/collections", `{"name":"Another"}`)
	page := decode[openapi.CollectionPage](t, s.do("GET", "/collections?limit=1", ""))
	if len(page.Collections) != 1 || page.Collections[0].Name != "Another" || page.NextCursor == nil {
		t.Errorf("got %+v", page)
	}
	if w := s.asStaff("DELETE", "/collections/bargains", ""); w.Code != http.StatusNoContent || listed("bargains") != "" || titles(t, s.do("GET", "/products", "")) != "Cup, Mug" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, s.do("GET", "/collections/bargains", ""), 404, "collection_not_found", "")
}
