package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// echoed is a store that has told a program of everything about an order, which
// is cancelled. What the program answers it gets from answer.
func echoed(t *testing.T, answer http.HandlerFunc) (s *store, order openapi.Order) {
	t.Helper()
	s = storeWith(t, testbed.Database(t), 8, func(c *config.Config) { c.Webhooks.AllowPrivateAddresses = true })
	program := httptest.NewServer(answer)
	t.Cleanup(program.Close)
	admin[openapi.CreatedWebhookEndpoint](s, "POST", "/webhooks/endpoints", fmt.Sprintf(`{"url":%q,"events":["*"]}`, program.URL), http.StatusCreated)
	s.telling()
	order = want[openapi.Order](t, s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 5), 1)).order(), http.StatusCreated)
	admin[openapi.Order](s, "POST", "/orders/"+order.Id.String()+"/transitions", `{"to":"cancelled"}`, http.StatusOK)
	s.told()
	return s, order
}

// told waits until everything was told.
func (s *store) told() {
	s.t.Helper()
	testbed.Eventually(s.t, "everything is told", func() (done bool) {
		s.scan(`SELECT NOT EXISTS (SELECT FROM events WHERE position IS NULL AND topic <> '') AND (SELECT position FROM event_readers WHERE name = 'webhooks') = (SELECT position FROM event_position)
			AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending')`, &done)
		return done
	})
}

// note has staff write something about an order.
func (s *store) note(order openapi.Order, text string) {
	s.t.Helper()
	want[openapi.TimelineEntry](s.t, s.asAdmin("POST", "/orders/"+order.Id.String()+"/notes", fmt.Sprintf(`{"text":%q}`, text), "Idempotency-Key", text), http.StatusCreated)
}

func TestWhatIsBeingToldOfWhoIsErasedIsErasedToo(t *testing.T) {
	t.Parallel()
	s, order := echoed(t, func(http.ResponseWriter, *http.Request) {})
	erased := make(chan *httptest.ResponseRecorder, 1)
	s.statements.meanwhile("InsertDeliveries", func() { // the note was read as it was
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			erased <- s.asAdmin("POST", "/erasures", fmt.Sprintf(`{"email":%q}`, order.Email))
		}()
		testbed.Eventually(t, "the erasure waits, or is done", func() bool {
			select {
			case <-answered:
				return true
			default:
			}
			var n int
			s.scan(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%event_readers%'`, &n)
			return n > 0
		})
	})
	s.note(order, marker+" called")
	want[openapi.Erasure](t, <-erased, http.StatusCreated)
	s.told()
	if left := s.found(marker); len(left) > 0 {
		t.Errorf("the marker is still in %v", left)
	}
}

func TestWhatIsAnsweredAboutWhoWasErasedMeanwhileIsNotKept(t *testing.T) {
	t.Parallel()
	asked, goOn := make(chan struct{}), make(chan struct{})
	s, order := echoed(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(body), marker) {
			close(asked)
			<-goOn
		}
		_, _ = w.Write(body)
	})
	s.note(order, marker+" called")
	<-asked
	admin[openapi.Erasure](s, "POST", "/erasures", fmt.Sprintf(`{"email":%q}`, order.Email), http.StatusCreated)
	close(goOn)
	s.told()
	if left := s.found(marker); len(left) > 0 {
		t.Errorf("the marker is still in %v", left)
	}
	var answers, kept int
	s.scan(`SELECT count(*), count(*) FILTER (WHERE answer <> '') FROM webhook_attempts WHERE delivery_id IN (SELECT id FROM webhook_deliveries WHERE subject_id = '`+order.Id.String()+`')`, &answers, &kept)
	if answers < 3 || kept != 0 {
		t.Errorf("of %d answers %d are kept", answers, kept)
	}
	if list := admin[openapi.AuditPage](s, "GET", "/audit?object=webhook_delivery", "", http.StatusOK); len(list.Entries) != 0 {
		t.Errorf("the audit log tells of deliveries: %+v", list.Entries)
	}
}
