//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	commerce "gitee.com/captainjez/gocart/runtime/openapi/client"
)

// heard is a message of the store.
type heard struct {
	Type, Topic, Event, Code string
	Position                 int64
	Subject                  uuid.UUID
	Status                   int
	Body                     json.RawMessage
	Data                     struct{ Available int64 }
}

// socket is a WebSocket of the shopper's.
type socket struct{ *websocket.Conn }

func (s *shopper) socket(ctx context.Context, token string) (*socket, error) {
	transport := s.client.Transport.(*http.Transport)
	conn, _, err := websocket.Dial(ctx, s.base+"/ws", &websocket.DialOptions{
		Subprotocols: []string{"gocart.v1"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		HTTPClient: &http.Client{Transport: &http.Transport{
			DialContext: transport.DialContext, TLSClientConfig: &tls.Config{RootCAs: acmeCAs, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13},
		}},
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	return &socket{conn}, nil
}

func (s *socket) say(ctx context.Context, format string, args ...any) error {
	return s.Write(ctx, websocket.MessageText, fmt.Appendf(nil, format, args...))
}

func (s *socket) hear(ctx context.Context) (m heard, err error) {
	_, text, err := s.Read(ctx)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}

// until reads on to a message that is wanted.
func (s *socket) until(ctx context.Context, want func(heard) bool) (heard, error) {
	for {
		m, err := s.hear(ctx)
		if err != nil || want(m) {
			return m, err
		}
	}
}

func ofType(kind string) func(heard) bool { return func(m heard) bool { return m.Type == kind } }

// TestSocketsOfThreeReplicas has one store for all of it.
func TestSocketsOfThreeReplicas(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	policy := newPolicy(ns, "programs", nil)
	policy.Spec.APIKeys = addressLimit(1_000_000) // who fills a store with products
	create(t, policy)
	create(t, newStore(ns, "shop", development, func(s *v1alpha1.Store) {
		s.Spec.API.Replicas = ptr(int32(3))
		s.Spec.Cache = &v1alpha1.CacheSpec{TTL: &metav1.Duration{Duration: 5 * time.Minute}}
	}))
	ready(t, ns, "shop")
	t.Run("show an order of one to those of the others, and to no stranger", func(t *testing.T) { showAnOrder(t, ns) })
	t.Run("and its answers are kept, and never too old, while Redis is flushed and killed", func(t *testing.T) { keepAnswers(t, ns) })
	t.Run("lose nothing when replicas are killed and replaced", func(t *testing.T) { loseNothing(t, ns) })
}

func showAnOrder(t *testing.T, ns string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := shop(t, ns, "shop")
	g := s.sell(10)
	var pods corev1.PodList
	if err := cluster.List(ctx, &pods, client.InNamespace(ns), podsOf("api")); err != nil {
		t.Fatal(err)
	}
	at := func(i int, token string) *socket {
		t.Helper()
		c, err := shopAtPod(t, ns, "shop", pods.Items[i]).socket(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		return c
	}
	token := func(email string) string {
		login := commerce.LoginInput{Email: email, Password: "correct horse battery"}
		if _, err := s.api().RegisterWithResponse(ctx, nil, commerce.RegisterInput{Email: login.Email, Password: login.Password}); err != nil {
			t.Fatal(err)
		}
		return ok[commerce.Tokens](t)(s.api().LogInWithResponse(ctx, login)).AccessToken
	}
	ada, eve := token("ada@example.com"), token("eve@example.com")
	buyer, staff, own, stranger := at(0, ada), at(1, s.adminKey()), at(2, ada), at(1, eve)
	for _, c := range []*socket{staff, own, stranger} {
		if err := c.say(ctx, `{"type":"subscribe","topic":"orders"}`); err != nil {
			t.Fatal(err)
		}
		if _, err := c.until(ctx, ofType("subscribed")); err != nil {
			t.Fatal(err)
		}
	}
	cart := created[commerce.CreatedCart](t)(s.api(bearer(ada)...).CreateCartWithResponse(ctx, nil, commerce.CartInput{
		Lines: &[]commerce.CartLineInput{{VariantId: g.variant, Quantity: 1}}, ShippingMethodId: &g.parcel,
		ShippingAddress: &commerce.Address{Name: "Ada", Line1: "Street 1", City: "Berlin", Country: "DE"},
	}))
	begun := time.Now()
	if err := buyer.say(ctx, `{"type":"command","method":"POST","path":"/orders","idempotencyKey":"one","body":{"cartId":%q,"payment":{"provider":"test"}}}`, cart.Cart.Id); err != nil {
		t.Fatal(err)
	}
	reply, err := buyer.until(ctx, ofType("reply"))
	var order commerce.Order
	if err != nil || reply.Status != http.StatusCreated || json.Unmarshal(reply.Body, &order) != nil {
		t.Fatalf("%v %+v %s", err, reply, reply.Body)
	}
	for name, c := range map[string]*socket{"staff": staff, "the buyer": own} {
		m, err := c.until(ctx, func(m heard) bool { return m.Event == "order.placed" })
		if err != nil || m.Subject != order.Id {
			t.Errorf("%s: %v %+v", name, err, m)
		}
		t.Logf("%s heard of the order on another replica %s after it was asked for", name, time.Since(begun).Round(time.Millisecond))
	}
	for message, code := range map[string]string{
		`{"type":"subscribe","topic":"orders/` + order.Id.String() + `"}`: "order_not_found", `{"type":"subscribe","topic":"inventory"}`: "forbidden",
		`{"type":"resume","after":0,"topics":["orders/` + order.Id.String() + `"]}`: "order_not_found",
	} {
		if err := stranger.say(ctx, "%s", message); err != nil {
			t.Fatal(err)
		}
		if m, err := stranger.hear(ctx); err != nil || m.Code != code {
			t.Errorf("a stranger says %s and hears %+v %v", message, m, err)
		}
	}
}

const (
	followers = 1000
	followed  = 10 // products, each changed ten times a second
	rounds    = 250
)

// follower is a client that comes back.
type follower struct {
	shop    *shopper
	key     string
	product uuid.UUID

	position  int64
	available []int64
	worst     time.Duration
	returns   int
}

// follow hears of a product until the last change of it.
func (f *follower) follow(ctx context.Context, subscribed func(), last int64) error {
	first, lost := true, time.Now()
	for {
		err := f.connect(ctx, first, func() {
			if first {
				first = false
				subscribed()
			} else {
				f.worst, f.returns = max(f.worst, time.Since(lost)), f.returns+1
			}
		}, last)
		if err == nil || ctx.Err() != nil {
			return err
		}
		lost = time.Now()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(100+lost.Nanosecond()%400) * time.Millisecond): // as the client does, each another
		}
	}
}

// connect follows over one connection; nil is the end.
func (f *follower) connect(ctx context.Context, first bool, up func(), last int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := f.shop.socket(ctx, f.key)
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseNow() }()
	message := fmt.Sprintf(`{"type":"subscribe","topic":"inventory/%s"}`, f.product)
	if !first {
		message = fmt.Sprintf(`{"type":"resume","after":%d,"topics":["inventory/%s"]}`, f.position, f.product)
	}
	if err := c.say(ctx, "%s", message); err != nil {
		return err
	}
	// A replica whose machine is gone says no farewell: the line is dead that says nothing.
	quiet := time.AfterFunc(5*time.Second, cancel)
	for {
		m, err := c.hear(ctx)
		if err != nil {
			return err
		}
		quiet.Reset(5 * time.Second)
		switch {
		case m.Type == "subscribed" || m.Type == "resumed":
			f.position = max(f.position, m.Position)
			up()
		case m.Type == "event" && m.Position > f.position:
			f.position = m.Position
			if m.Event != "stock.changed" {
				continue
			}
			if f.available = append(f.available, m.Data.Available); m.Data.Available == last {
				return nil
			}
		case m.Type == "reload" || m.Type == "error":
			return fmt.Errorf("%+v", m)
		}
	}
}

func loseNothing(t *testing.T, ns string) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	s := shop(t, ns, "shop")
	staff := s.api(bearer(s.adminKey())...)
	location := ok[commerce.LocationList](t)(staff.ListLocationsWithResponse(ctx)).Locations[0].Id
	products := make([]uuid.UUID, followed)
	for i := range products {
		products[i] = created[commerce.Product](t)(staff.CreateProductWithResponse(ctx, nil, commerce.ProductInput{
			Title: fmt.Sprint("Followed ", i), Type: commerce.ProductTypeSimple, Status: ptr(commerce.ProductStatusActive),
			Variants: []commerce.VariantInput{{Sku: fmt.Sprint("F", i), Prices: []commerce.PriceInput{{Amount: "10.00", Currency: "EUR"}}}},
		})).Id
	}
	keys := make([]string, 20)
	for i := range keys {
		keys[i] = created[commerce.CreatedApiKey](t)(staff.CreateApiKeyWithResponse(ctx, commerce.ApiKeyInput{Name: fmt.Sprint("follower ", i), Scopes: []string{"inventory:read"}})).Secret
	}
	all := make([]*follower, followers)
	var subscribed atomic.Int64
	var following errgroup.Group
	gate := make(chan struct{}, 50) // handshakes at once, at first
	for i := range all {
		f := &follower{shop: s, key: keys[i%len(keys)], product: products[i%followed]}
		all[i] = f
		following.Go(func() error {
			gate <- struct{}{}
			return f.follow(ctx, func() { <-gate; subscribed.Add(1) }, rounds)
		})
	}
	eventually(t, time.Minute, "all follow", func() error {
		if n := subscribed.Load(); n < followers {
			return fmt.Errorf("%d do", n)
		}
		return nil
	})

	var disturb sync.WaitGroup
	disturb.Go(func() {
		var pods corev1.PodList
		if err := cluster.List(ctx, &pods, client.InNamespace(ns), podsOf("api")); err != nil {
			t.Error(err)
			return
		}
		signal(t, pods.Items[0], syscall.SIGKILL)
		eventually(t, time.Minute, "the killed replica is back", func() error {
			c := read(t, ns, pods.Items[0].Name, &corev1.Pod{}).Status.ContainerStatuses[0]
			if c.RestartCount == 0 || !c.Ready {
				return fmt.Errorf("it was restarted %d times, ready: %v", c.RestartCount, c.Ready)
			}
			return nil
		})
		patchStore(t, ns, "shop", func(s *v1alpha1.Store) { s.Spec.Locale = "de" }) // which replaces every pod
	})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for round := int64(1); round <= rounds; round++ {
		<-tick.C
		in := commerce.AdjustmentInput{Reason: commerce.AdjustmentInputReasonCount}
		for i := range followed {
			in.Changes = append(in.Changes, commerce.StockChange{Sku: fmt.Sprint("F", i), LocationId: location, Quantity: round})
		}
		for { // until it is acknowledged, by whichever replica
			a, err := staff.AdjustInventoryWithResponse(ctx, &commerce.AdjustInventoryParams{IdempotencyKey: ptr(fmt.Sprint("round-", round))}, in)
			if err == nil && a.JSON201 != nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatal(errors.Join(ctx.Err(), err))
			}
		}
	}
	disturb.Wait()
	if err := following.Wait(); err != nil {
		t.Fatalf("a follower did not hear of the end: %v", err)
	}
	returns, worst := 0, time.Duration(0)
	for i, f := range all {
		if len(f.available) != rounds || !slices.IsSorted(f.available) || f.available[0] != 1 {
			t.Fatalf("follower %d heard %d changes: %s", i, len(f.available), strings.Join(strings.Fields(fmt.Sprint(f.available)), " "))
		}
		returns += f.returns
		worst = max(worst, f.worst)
	}
	t.Logf("%d clients heard each of %d changes, once and in order; they came back %d times, after %s at the latest", followers, rounds, returns, worst.Round(time.Millisecond))
	if worst > 10*time.Second {
		t.Errorf("a client was away for %s", worst)
	}
	if returns < followers { // each lived on a replica that was killed or replaced
		t.Errorf("clients came back %d times", returns)
	}
	condition(t, ns, "shop", v1alpha1.ReadyCondition, func(c metav1.Condition) bool { return c.Status == "True" })
}
