package catalog

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	defaultLimit = 20
	maxLimit     = 100
	maxQuery     = 200
	// maxWords bounds the work of one search.
	maxWords = 10
)

// shopper is what anybody may see; everything is what an administrator may.
var (
	shopper    = []string{string(openapi.Active)}
	everything = []string{string(openapi.Draft), string(openapi.Active), string(openapi.Archived)}
)

// listing is one page that a caller asks for.
type listing struct {
	q        string
	statuses []string
	limit    int
	after    position
}

// position is the place of the last product of a page: its rank in a search,
// its id, and which list it is a place in.
type position struct {
	ID   uuid.UUID `json:"i"`
	Rank float64   `json:"r,omitempty"`
	List uint32    `json:"l"`
}

// newListing reads a caller's wish. What is wrong with it comes back as
// *problem.Problem.
func newListing(params openapi.ListProductsParams, admin bool) (listing, error) {
	l := listing{statuses: shopper, limit: defaultLimit, after: position{ID: uuid.Max, Rank: math.MaxFloat64}}
	if admin {
		l.statuses = everything
	}
	if params.Q != nil {
		l.q = strings.TrimSpace(*params.Q)
		if n := utf8.RuneCountInString(l.q); n == 0 || n > maxQuery {
			return l, problem.Invalid(problem.Field{Pointer: "q", Detail: fmt.Sprintf("must have 1 to %d characters", maxQuery)})
		}
	}
	if params.Limit != nil {
		if l.limit = *params.Limit; l.limit < 1 || l.limit > maxLimit {
			return l, problem.Invalid(problem.Field{Pointer: "limit", Detail: fmt.Sprintf("must be 1 to %d", maxLimit)})
		}
	}
	if params.Status != nil {
		if !params.Status.Valid() {
			return l, problem.Invalid(problem.Field{Pointer: "status", Detail: "must be draft, active or archived"})
		}
		if !admin && *params.Status != openapi.Active {
			return l, problem.New(http.StatusForbidden, "administrators_only", "Only an administrator sees products that are not active.")
		}
		l.statuses = []string{string(*params.Status)}
	}
	if params.Cursor != nil {
		raw, err := base64.RawURLEncoding.DecodeString(*params.Cursor)
		if err != nil || json.Unmarshal(raw, &l.after) != nil || l.after.List != l.checksum() {
			return l, problem.Invalid(problem.Field{Pointer: "cursor", Detail: "is not a nextCursor of this list"})
		}
	}
	return l, nil
}

// checksum tells lists with different contents apart.
func (l listing) checksum() uint32 {
	return crc32.ChecksumIEEE([]byte(strings.Join(l.statuses, ",") + "|" + l.q))
}

func (l listing) cursorAt(id uuid.UUID, rank float64) string {
	raw, err := json.Marshal(position{ID: id, Rank: rank, List: l.checksum()})
	if err != nil { // ranks are finite
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// cacheKey holds everything that changes the answer.
func (l listing) cacheKey() string {
	return fmt.Sprintf("products:%s:%d:%v:%s:%s", strings.Join(l.statuses, ","), l.limit, l.after.Rank, l.after.ID, l.q)
}

// tsquery writes words as PostgreSQL's to_tsquery reads them: all must occur,
// each in full or as the beginning of a word. It is empty where there is
// nothing to look for.
func tsquery(q string) string {
	words := strings.FieldsFunc(q, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	if len(words) > maxWords {
		words = words[:maxWords]
	}
	for i, word := range words {
		words[i] = "'" + word + "':*"
	}
	return strings.Join(words, " & ")
}
