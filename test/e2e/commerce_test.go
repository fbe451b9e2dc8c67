//go:build e2e

package e2e

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	commerce "gitee.com/captainjez/gocart/runtime/openapi/client"
)

// development has the store take the payments that take no money.
func development(s *v1alpha1.Store) {
	s.Spec.Mode = v1alpha1.StoreModeDevelopment
	s.Spec.Payments = &v1alpha1.PaymentsSpec{Test: &v1alpha1.TestPaymentsSpec{Enabled: ptr(true)}}
}

// api is the generated client over the shopper's connection, with headers in
// pairs.
func (s *shopper) api(headers ...string) *commerce.ClientWithResponses {
	s.t.Helper()
	c, err := commerce.NewClientWithResponses(s.base+"/api/v1", commerce.WithHTTPClient(s.client), commerce.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			return nil
		}))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// answer is what the generated client's answers have in common.
type answer interface {
	GetBody() []byte
	Status() string
	StatusCode() int
}

type answer200[T any] interface {
	answer
	GetJSON200() *T
}

type answer201[T any] interface {
	answer
	GetJSON201() *T
}

// ok takes the client's answer 200, and fails the test on another.
func ok[T any](t *testing.T) func(answer200[T], error) *T {
	return func(a answer200[T], err error) *T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if a.GetJSON200() == nil {
			t.Fatalf("answered %s %s", a.Status(), a.GetBody())
		}
		return a.GetJSON200()
	}
}

// created takes the client's answer 201, and fails the test on another.
func created[T any](t *testing.T) func(answer201[T], error) *T {
	return func(a answer201[T], err error) *T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if a.GetJSON201() == nil {
			t.Fatalf("answered %s %s", a.Status(), a.GetBody())
		}
		return a.GetJSON201()
	}
}

// goods are what a store sells in these tests.
type goods struct {
	variant uuid.UUID
	parcel  uuid.UUID
}

// sell stocks the store with cups at 10.00, VAT of 19% in it, a parcel for 4.90
// and the coupon TEN for a tenth off.
func (s *shopper) sell(quantity int64) goods {
	t, ctx, staff := s.t, s.t.Context(), s.api(bearer(s.adminKey())...)
	t.Helper()
	zone := created[commerce.Zone](t)(staff.CreateZoneWithResponse(ctx, nil, commerce.ZoneInput{Name: "World", Areas: []string{"*"}}))
	created[commerce.TaxRate](t)(staff.CreateTaxRateWithResponse(ctx, nil, commerce.TaxRateInput{Name: "VAT", ZoneId: zone.Id, Percent: "19"}))
	parcel := created[commerce.ShippingMethod](t)(staff.CreateShippingMethodWithResponse(ctx, nil, commerce.ShippingMethodInput{
		Name: "Parcel", ZoneId: zone.Id, Prices: []commerce.ShippingPrice{{Price: commerce.Money{Amount: "4.90", Currency: "EUR"}}},
	}))
	created[commerce.Promotion](t)(staff.CreatePromotionWithResponse(ctx, nil, commerce.PromotionInput{
		Title: "A tenth off", Code: ptr("TEN"), Kind: commerce.PromotionKindPercentage, Percent: ptr("10"),
	}))
	cup := created[commerce.Product](t)(staff.CreateProductWithResponse(ctx, nil, commerce.ProductInput{
		Title: "Espresso cup", Type: commerce.ProductTypeSimple, Status: ptr(commerce.ProductStatusActive),
		Variants: []commerce.VariantInput{{Sku: "CUP", Prices: []commerce.PriceInput{{Amount: "10.00", Currency: "EUR"}}}},
	}))
	locations := ok[commerce.LocationList](t)(staff.ListLocationsWithResponse(ctx))
	created[commerce.LevelList](t)(staff.AdjustInventoryWithResponse(ctx, nil, commerce.AdjustmentInput{
		Reason: commerce.AdjustmentInputReasonCount, Changes: []commerce.StockChange{{Sku: "CUP", LocationId: locations.Locations[0].Id, Quantity: quantity}},
	}))
	return goods{variant: cup.Variants[0].Id, parcel: parcel.Id}
}

// level is how many cups there are.
func (s *shopper) level() commerce.Level {
	s.t.Helper()
	staff := s.api(bearer(s.adminKey())...)
	page := ok[commerce.InventoryPage](s.t)(staff.ListInventoryWithResponse(s.t.Context(), &commerce.ListInventoryParams{Sku: ptr("CUP")}))
	if len(page.Levels) != 1 {
		s.t.Fatalf("levels %+v", page.Levels)
	}
	return page.Levels[0]
}

// wantLedger fails the test unless the ledger's sum is the level.
func (s *shopper) wantLedger(level commerce.Level) {
	s.t.Helper()
	staff, params := s.api(bearer(s.adminKey())...), &commerce.ListMovementsParams{Sku: ptr("CUP"), Limit: ptr(100)}
	var onHand, reserved int64
	for {
		page := ok[commerce.MovementPage](s.t)(staff.ListMovementsWithResponse(s.t.Context(), params))
		for _, m := range page.Movements {
			onHand, reserved = onHand+m.OnHand, reserved+m.Reserved
		}
		if params.Cursor = page.NextCursor; params.Cursor == nil {
			break
		}
	}
	if onHand != level.OnHand || reserved != level.Reserved {
		s.t.Errorf("the ledger adds up to %d on hand and %d reserved, the level is %+v", onHand, reserved, level)
	}
}

var home = commerce.Address{Name: "Ada", Line1: "Street 1", City: "Berlin", Country: "DE"}

// cart is a guest's with one cup, ready to be ordered.
func (g goods) cart() commerce.CartInput {
	return commerce.CartInput{
		Email: ptr("ada@example.com"), ShippingAddress: &home, ShippingMethodId: &g.parcel,
		Lines: &[]commerce.CartLineInput{{VariantId: g.variant, Quantity: 1}},
	}
}

func payment() commerce.PaymentInput { return commerce.PaymentInput{Provider: "test"} }

func TestACustomerBuysOverHTTPS(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", development))
	ready(t, ns, "shop")
	web, ctx := shop(t, ns, "shop"), t.Context()
	web.answers()
	sold := web.sell(5)

	anybody := web.api()
	registered, err := anybody.RegisterWithResponse(ctx, nil, commerce.RegisterInput{Email: "ada@example.com", Password: "correct horse battery"})
	if err != nil || registered.JSON202 == nil {
		t.Fatalf("registering: %v %+v", err, registered)
	}
	tokens := ok[commerce.Tokens](t)(anybody.LogInWithResponse(ctx, commerce.LoginInput{Email: "ada@example.com", Password: "correct horse battery"}))
	ada := web.api(bearer(tokens.AccessToken)...)

	found := ok[commerce.ProductPage](t)(anybody.ListProductsWithResponse(ctx, &commerce.ListProductsParams{
		Q: ptr("espr"), InStock: ptr(true), Include: &[]commerce.ProductInclude{commerce.ProductIncludeStock},
	}))
	if len(found.Products) != 1 || *(*found.Products[0].Stock)[sold.variant.String()].Available != 5 {
		t.Fatalf("found %+v", found.Products)
	}
	cart := created[commerce.CreatedCart](t)(ada.CreateCartWithResponse(ctx, nil, commerce.CartInput{
		Lines: &[]commerce.CartLineInput{{VariantId: sold.variant, Quantity: 2}},
	})).Cart
	priced := ok[commerce.Cart](t)(ada.AddCouponWithResponse(ctx, cart.Id, commerce.CouponInput{Code: "ten"}))
	if priced.Totals.Total != "18.00" {
		t.Errorf("with the coupon: %+v", priced.Totals)
	}
	ok[commerce.Cart](t)(ada.UpdateCartWithResponse(ctx, cart.Id, commerce.CartUpdate{ShippingAddress: &home}))
	ways := ok[commerce.ShippingQuoteList](t)(ada.ListCartShippingMethodsWithResponse(ctx, cart.Id))
	if len(ways.ShippingMethods) != 1 || ways.ShippingMethods[0].Price.Amount != "4.90" {
		t.Fatalf("ways to ship %+v", ways)
	}
	priced = ok[commerce.Cart](t)(ada.UpdateCartWithResponse(ctx, cart.Id, commerce.CartUpdate{ShippingMethodId: &ways.ShippingMethods[0].Id}))
	if priced.Totals.Total != "22.90" || priced.Totals.Tax != "3.65" {
		t.Errorf("with shipping: %+v", priced.Totals)
	}

	in, key := commerce.OrderInput{CartId: cart.Id, Payment: payment(), ExpectedTotal: &priced.Totals.Total}, &commerce.PlaceOrderParams{IdempotencyKey: ptr("one")}
	order := created[commerce.Order](t)(ada.PlaceOrderWithResponse(ctx, key, in))
	if order.Number != "1001" || order.State != commerce.OrderStateConfirmed || order.Email != "ada@example.com" || order.Totals.Total != "22.90" {
		t.Errorf("order %+v", order)
	}
	again, err := ada.PlaceOrderWithResponse(ctx, key, in)
	if err != nil || again.JSON201 == nil || again.JSON201.Id != order.Id || again.HTTPResponse.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the same request again: %v %+v", err, again)
	}
	if l := web.level(); l.Reserved != 2 {
		t.Errorf("after the order: %+v", l)
	}
	if theirs, err := anybody.GetOrderWithResponse(ctx, order.Id); err != nil || theirs.StatusCode() != http.StatusUnauthorized {
		t.Errorf("anybody reads the order: %v %+v", err, theirs)
	}
	if cancelled := ok[commerce.Order](t)(ada.CancelOrderWithResponse(ctx, order.Id, commerce.CancelInput{})); cancelled.State != commerce.OrderStateCancelled {
		t.Errorf("cancelled %+v", cancelled)
	}
	list := ok[commerce.OrderPage](t)(ada.ListOrdersWithResponse(ctx, nil))
	if len(list.Orders) != 1 || list.Orders[0].State != commerce.OrderStateCancelled {
		t.Errorf("own orders %+v", list.Orders)
	}
	level := web.level()
	if level.OnHand != 5 || level.Reserved != 0 {
		t.Errorf("after the cancellation: %+v", level)
	}
	web.wantLedger(level)
	if left, err := ada.LogOutWithResponse(ctx); err != nil || left.StatusCode() != http.StatusNoContent {
		t.Errorf("logging out: %v %+v", err, left)
	}
	if after, err := ada.GetMeWithResponse(ctx); err != nil || after.StatusCode() != http.StatusUnauthorized {
		t.Errorf("after logging out: %v %+v", err, after)
	}
}

// shopAtPod is a shopper whom one of the store's api pods serves.
func shopAtPod(t *testing.T, ns, name string, pod corev1.Pod) *shopper {
	t.Helper()
	s := shop(t, ns, name)
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, net.JoinHostPort(pod.Status.PodIP, "8443"))
	}
	return s
}

func TestFortyBuyersOfTenUnitsGetTen(t *testing.T) {
	t.Parallel()
	const buyers, units, replicas = 40, 10, 2
	ns := namespace(t)
	unlimited(t, ns)
	create(t, newStore(ns, "shop", development, func(s *v1alpha1.Store) { s.Spec.API.Replicas = ptr(int32(replicas)) }))
	ready(t, ns, "shop")
	web := shop(t, ns, "shop")
	web.answers()
	sold := web.sell(units)
	var pods corev1.PodList
	if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), podsOf("api")); err != nil || len(pods.Items) != replicas {
		t.Fatalf("%d api pods, %v", len(pods.Items), err)
	}

	// Everybody has a cart before anybody orders; half of them at each replica.
	guests, carts := make([]*commerce.ClientWithResponses, buyers), make([]uuid.UUID, buyers)
	for i := range buyers {
		at := shopAtPod(t, ns, "shop", pods.Items[i%replicas])
		cart := created[commerce.CreatedCart](t)(at.api().CreateCartWithResponse(t.Context(), nil, sold.cart()))
		guests[i], carts[i] = at.api("X-Cart-Token", *cart.Token), cart.Cart.Id
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	placed, refused := map[int]int{}, 0
	for i := range buyers {
		wg.Go(func() {
			a, err := guests[i].PlaceOrderWithResponse(t.Context(), nil, commerce.OrderInput{CartId: carts[i], Payment: payment()})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case a.JSON201 != nil:
				placed[i%replicas]++
			case a.StatusCode() == http.StatusConflict && a.ApplicationproblemJSONDefault.Code == "out_of_stock":
				refused++
			default:
				t.Errorf("answered %s %s", a.Status(), a.Body)
			}
		})
	}
	wg.Wait()
	if placed[0]+placed[1] != units || refused != buyers-units {
		t.Errorf("%v were placed at the replicas and %d refused, of %d units", placed, refused, units)
	}
	level := web.level()
	if level.OnHand != units || level.Reserved != units || level.Available != 0 {
		t.Errorf("level %+v", level)
	}
	web.wantLedger(level)
}

// persistently repeats a request, as a browser does, until it is answered for
// good, and returns the answer 201; nil when it was refused.
func persistently[T any](t *testing.T, what string, request func() (answer201[T], error)) *T {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		a, err := request()
		switch {
		case err == nil && a.GetJSON201() != nil:
			return a.GetJSON201()
		case err == nil && a.StatusCode() < http.StatusInternalServerError:
			t.Errorf("%s: answered %s %s", what, a.Status(), a.GetBody())
			return nil
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Errorf("%s: not answered within %s: %v", what, patience, err)
			return nil
		case <-t.Context().Done():
			return nil
		}
	}
}

func TestAnOrderSurvivesTheKillOfEveryPod(t *testing.T) {
	t.Parallel()
	const orders, buyers = 200, 4
	ns := namespace(t)
	unlimited(t, ns)
	create(t, newStore(ns, "shop", development))
	ready(t, ns, "shop")
	web := shop(t, ns, "shop")
	web.answers()
	sold := web.sell(orders + 10)

	// Buyers go on while pods are deleted without grace: the api's, then
	// PostgreSQL's, then all of the store's at once.
	kills := map[int][]string{orders / 4: {"api"}, orders / 2: {"postgres"}, 3 * orders / 4: {"api", "postgres", "worker", "redis"}}
	var mu sync.Mutex
	acknowledged := map[uuid.UUID]bool{}
	kill := make(chan []string, len(kills))
	var wg sync.WaitGroup
	for b := range buyers {
		wg.Go(func() {
			at := shop(t, ns, "shop")
			for i := range orders / buyers {
				key := strconv.Itoa(b) + "-" + strconv.Itoa(i)
				cart := persistently(t, "opening cart "+key, func() (answer201[commerce.CreatedCart], error) {
					return at.api().CreateCartWithResponse(t.Context(), nil, sold.cart())
				})
				if cart == nil {
					return
				}
				guest := at.api("X-Cart-Token", *cart.Token)
				order := persistently(t, "placing order "+key, func() (answer201[commerce.Order], error) {
					return guest.PlaceOrderWithResponse(t.Context(), &commerce.PlaceOrderParams{IdempotencyKey: &key}, commerce.OrderInput{CartId: cart.Cart.Id, Payment: payment()})
				})
				if order == nil {
					return
				}
				mu.Lock()
				acknowledged[order.Id] = true
				if pods := kills[len(acknowledged)]; pods != nil {
					kill <- pods
				}
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	killed := 0
	for running := true; running; {
		select {
		case components := <-kill:
			killed++
			for _, component := range components {
				if err := cluster.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(ns), podsOf(component), client.GracePeriodSeconds(0)); err != nil {
					t.Error(err)
				}
			}
		case <-done:
			running = false
		}
	}
	if killed != len(kills) || len(acknowledged) != orders {
		t.Fatalf("%d of %d kills, %d of %d orders", killed, len(kills), len(acknowledged), orders)
	}
	ready(t, ns, "shop")
	web = shop(t, ns, "shop")
	web.answers()

	stored, staff, params := map[uuid.UUID]bool{}, web.api(bearer(web.adminKey())...), &commerce.ListOrdersParams{Limit: ptr(100)}
	for {
		page := ok[commerce.OrderPage](t)(staff.ListOrdersWithResponse(t.Context(), params))
		for _, o := range page.Orders {
			stored[o.Id] = true
		}
		if params.Cursor = page.NextCursor; params.Cursor == nil {
			break
		}
	}
	for id := range acknowledged {
		if !stored[id] {
			t.Errorf("order %s was acknowledged and is not there", id)
		}
	}
	if len(stored) != orders {
		t.Errorf("%d orders are stored, %d were acknowledged", len(stored), orders)
	}
	level := web.level()
	if level.Reserved != orders {
		t.Errorf("level %+v after %d orders", level, orders)
	}
	web.wantLedger(level)
}
