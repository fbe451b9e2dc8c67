//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	commerce "gitee.com/captainjez/gocart/runtime/openapi/client"
)

// stripeMock runs Stripe's stand-in, and returns where pods reach it.
func stripeMock(t *testing.T, ns string) string {
	t.Helper()
	labels := map[string]string{"app.kubernetes.io/name": "stripe-mock"}
	create(t, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "stripe-mock"},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 12111, TargetPort: intstr.FromInt32(12111)}}},
	})
	create(t, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "stripe-mock"},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{
				SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
				Containers: []corev1.Container{{
					Name: "stripe-mock", Image: "docker.io/library/stripe-mock:dev",
					SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
				}},
			},
		}},
	})
	eventually(t, patience, "Stripe's stand-in", func() error {
		if n := read(t, ns, "stripe-mock", &appsv1.Deployment{}).Status.ReadyReplicas; n != 1 {
			return fmt.Errorf("%d pods are ready", n)
		}
		return nil
	})
	return "http://stripe-mock." + ns + ".svc:12111"
}

const (
	stripeKey    = "sk_test_day"
	stripeSecret = "whsec_of_a_day"
)

// byStripe has a store take payments by the Stripe at an address, too.
func byStripe(t *testing.T, ns, address string) func(*v1alpha1.Store) {
	t.Helper()
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "stripe"}, StringData: map[string]string{"key": stripeKey, "secret": stripeSecret}})
	return func(s *v1alpha1.Store) {
		s.Spec.Payments.Stripe = &v1alpha1.StripePaymentsSpec{
			APIKeySecretRef: v1alpha1.SecretKey{Name: "stripe", Key: "key"}, WebhookSecretRefs: []v1alpha1.SecretKey{{Name: "stripe", Key: "secret"}},
			PublishableKey: "pk_test_of_a_day", APIBase: address,
		}
	}
}

// imported brings a file in, and wants every record of it taken.
func imported(t *testing.T, staff *commerce.ClientWithResponses, kind commerce.TransferKind, file string) {
	t.Helper()
	ctx := t.Context()
	begun := created[commerce.Import](t)(staff.CreateImportWithResponse(ctx, nil, commerce.ImportInput{Kind: kind, Format: commerce.TransferFormatCsv}))
	params := &commerce.ContinueImportParams{UploadComplete: ptr("?1")}
	done := ok[commerce.Import](t)(staff.ContinueImportWithBodyWithResponse(ctx, begun.Id, params, "application/octet-stream", strings.NewReader(file)))
	if done.Refused != 0 || int(done.Created) != strings.Count(file, "\n")-1 {
		t.Fatalf("importing %s came to %s", kind, jsonOf(t, done))
	}
}

// exported takes all records of a kind out.
func (s *shopper) exported(staff *commerce.ClientWithResponses, kind commerce.TransferKind) string {
	s.t.Helper()
	part, err := staff.ExportRecordsWithResponse(s.t.Context(), kind, &commerce.ExportRecordsParams{Format: commerce.TransferFormatCsv})
	if err != nil || part.StatusCode() != http.StatusOK {
		s.t.Fatalf("exporting %s: %v %+v", kind, err, part)
	}
	return string(part.Body)
}

// fromStripe sends the store an event as Stripe would, and returns its answer.
func (s *shopper) fromStripe(id, intent, secret string) int {
	s.t.Helper()
	raw := fmt.Sprintf(`{"id":%q,"object":"event","type":"payment_intent.succeeded","data":{"object":{"id":%q,"object":"payment_intent"}}}`, id, intent)
	at := time.Now().Unix()
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%d.%s", at, raw)
	header := http.Header{"Content-Type": {"application/json"}, "Stripe-Signature": {fmt.Sprintf("t=%d,v1=%s", at, hex.EncodeToString(mac.Sum(nil)))}}
	answer, _, err := s.do(http.MethodPost, "/webhooks/payments/stripe", header, []byte(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode
}

// hooked are the types of the webhooks that came to a mailbox about something,
// in their order; a signature that does not hold fails the test.
func hooked(t *testing.T, box, secret, subject string) (types []string) {
	t.Helper()
	var all []struct{ ID, Timestamp, Signature, Body string }
	answer, err := http.Get(box + "/hooks")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, h := range all {
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", h.ID, h.Timestamp, h.Body)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); h.Signature != want {
			t.Fatalf("a webhook is signed %s, want %s", h.Signature, want)
		}
		var e struct{ Type, Subject string }
		if err := json.Unmarshal([]byte(h.Body), &e); err != nil {
			t.Fatal(err)
		}
		if e.Subject == subject && !seen[h.ID] {
			types = append(types, e.Type)
		}
		seen[h.ID] = true
	}
	return types
}

// TestAShopsWholeDay brings goods in, sells them, sends them in parts, takes one
// back, gives money back, and looks at what that came to.
func TestAShopsWholeDay(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	mails, box := mailbox(t, ns, 0)
	create(t, newStore(ns, "shop", development, byStripe(t, ns, stripeMock(t, ns)), mailTo(t, ns, mails), func(s *v1alpha1.Store) {
		s.Spec.Webhooks = &v1alpha1.WebhooksSpec{AllowPrivateAddresses: ptr(true)}
	}))
	ready(t, ns, "shop")
	web, ctx := shop(t, ns, "shop"), t.Context()
	web.answers()
	staff := web.api(bearer(web.adminKey())...)
	hook := created[commerce.CreatedWebhookEndpoint](t)(staff.CreateWebhookEndpointWithResponse(ctx, nil, commerce.WebhookEndpointInput{
		Url: "http://mailbox." + ns + ".svc:8025/hooks", Events: []string{"order.*", "fulfillment.*", "return.*", "refund.*"},
	}))

	// In the morning the goods come, from another shop's files.
	sold := web.sell(5)
	imported(t, staff, commerce.TransferKindProducts, "slug,title,type,status,sku,price EUR\nmug,Mug,simple,active,MUG,8.00\nplate,Plate,simple,active,PLATE,12.50\n")
	locations := ok[commerce.LocationList](t)(staff.ListLocationsWithResponse(ctx))
	created[commerce.LevelList](t)(staff.AdjustInventoryWithResponse(ctx, nil, commerce.AdjustmentInput{
		Reason: commerce.AdjustmentInputReasonDelivery, Changes: []commerce.StockChange{{Sku: "MUG", LocationId: locations.Locations[0].Id, Quantity: 10}},
	}))

	// Ada registers, and buys two cups and a mug with a coupon.
	anybody := web.api()
	account := commerce.LoginInput{Email: "ada@example.com", Password: "correct horse battery"}
	registered, err := anybody.RegisterWithResponse(ctx, nil, commerce.RegisterInput{Email: account.Email, Password: account.Password})
	if err != nil || registered.JSON202 == nil {
		t.Fatalf("registering: %v %+v", err, registered)
	}
	ada := web.api(bearer(ok[commerce.Tokens](t)(anybody.LogInWithResponse(ctx, account)).AccessToken)...)
	mug := ok[commerce.ProductPage](t)(anybody.ListProductsWithResponse(ctx, &commerce.ListProductsParams{Q: ptr("mug")})).Products[0].Variants[0].Id
	fill := func() commerce.Cart {
		cart := created[commerce.CreatedCart](t)(ada.CreateCartWithResponse(ctx, nil, commerce.CartInput{
			Lines:           &[]commerce.CartLineInput{{VariantId: sold.variant, Quantity: 2}, {VariantId: mug, Quantity: 1}},
			ShippingAddress: &home, ShippingMethodId: &sold.parcel,
		})).Cart
		return *ok[commerce.Cart](t)(ada.AddCouponWithResponse(ctx, cart.Id, commerce.CouponInput{Code: "TEN"}))
	}
	cart := fill()
	if cart.Totals.Total != "30.10" { // 28.00 less a tenth, and 4.90 for the parcel
		t.Errorf("the cart comes to %+v", cart.Totals)
	}

	// Stripe wants her to do something more, which she does not; a forged event changes nothing, and nor does one that Stripe signs but does not know of.
	waiting := created[commerce.Order](t)(ada.PlaceOrderWithResponse(ctx, nil, commerce.OrderInput{CartId: cart.Id, Payment: commerce.PaymentInput{Provider: "stripe"}}))
	if p := waiting.Payments[0]; waiting.State != commerce.OrderStatePending || p.State != commerce.PaymentStateRequiresAction || p.NextAction == nil {
		t.Fatalf("by Stripe the order is %s with %s", waiting.State, jsonOf(t, p.State))
	}
	details := ok[commerce.PaymentDetails](t)(staff.GetPaymentWithResponse(ctx, waiting.Payments[0].Id))
	for secret, want := range map[string]int{"whsec_of_a_thief": http.StatusBadRequest, stripeSecret: http.StatusNoContent} {
		for range 2 {
			if got := web.fromStripe("evt_1", details.Reference, secret); got != want {
				t.Errorf("an event signed by %s is answered %d, want %d", secret, got, want)
			}
		}
	}
	if o := ok[commerce.Order](t)(ada.CancelOrderWithResponse(ctx, waiting.Id, commerce.CancelInput{})); o.State != commerce.OrderStateCancelled {
		t.Errorf("she cancels, and the order is %s", o.State)
	}

	// Another way to pay takes it.
	total := "30.10"
	order := created[commerce.Order](t)(ada.PlaceOrderWithResponse(ctx, nil, commerce.OrderInput{CartId: fill().Id, Payment: payment(), ExpectedTotal: &total}))
	first := created[commerce.Fulfillment](t)(staff.CreateFulfillmentWithResponse(ctx, order.Id, nil, commerce.FulfillmentInput{
		Lines: &[]commerce.FulfillmentLine{{LineId: order.Lines[0].Id, Quantity: 1}},
	}))
	ok[commerce.Fulfillment](t)(staff.ShipFulfillmentWithResponse(ctx, first.Id, commerce.ShipInput{Tracking: &[]commerce.Tracking{{Carrier: ptr("DHL"), Number: "0034"}}}))
	if o := ok[commerce.Order](t)(ada.GetOrderWithResponse(ctx, order.Id)); o.State != commerce.OrderStateProcessing || o.Lines[0].ShippedQuantity != 1 {
		t.Errorf("after the first package the order is %s with %+v", o.State, o.Lines)
	}
	second := created[commerce.Fulfillment](t)(staff.CreateFulfillmentWithResponse(ctx, order.Id, nil, commerce.FulfillmentInput{Shipped: ptr(true)}))
	for _, f := range []*commerce.Fulfillment{first, second} {
		ok[commerce.Fulfillment](t)(staff.DeliverFulfillmentWithResponse(ctx, f.Id))
	}
	if o := ok[commerce.Order](t)(ada.GetOrderWithResponse(ctx, order.Id)); o.State != commerce.OrderStateDelivered || o.Payments[0].State != commerce.PaymentStateCaptured {
		t.Errorf("when all has arrived the order is %s", o.State)
	}

	// A cup is broken: it comes back, is written off, and its money goes back.
	back := created[commerce.Return](t)(ada.RequestReturnWithResponse(ctx, order.Id, nil, commerce.ReturnInput{
		Lines: []commerce.ReturnLineInput{{LineId: order.Lines[0].Id, Quantity: 1, Reason: ptr(commerce.ReturnReasonDamaged)}},
	}))
	ok[commerce.Return](t)(staff.ApproveReturnWithResponse(ctx, back.Id, commerce.ReturnAnswer{}))
	ok[commerce.Return](t)(staff.ReceiveReturnWithResponse(ctx, back.Id, commerce.ReceiveInput{
		Lines: &[]commerce.ReceiveLine{{LineId: order.Lines[0].Id, WriteOff: ptr(int64(1))}}, Refund: ptr(true),
	}))
	refunds := ok[commerce.RefundList](t)(ada.ListRefundsWithResponse(ctx, order.Id)).Refunds
	if len(refunds) != 1 || refunds[0].Amount.Amount != "9.00" {
		t.Errorf("she has back %s", jsonOf(t, refunds))
	}
	level := web.level()
	if level.OnHand != 3 || level.Reserved != 0 {
		t.Errorf("of cups there are %+v", level)
	}
	web.wantLedger(level)

	// Whoever listens heard it all, once and in its order.
	want := []string{
		"order.placed", "order.processing", "fulfillment.created", "fulfillment.shipped", "fulfillment.created", "fulfillment.shipped", "order.shipped",
		"fulfillment.delivered", "fulfillment.delivered", "order.delivered", "return.requested", "return.approved", "return.received", "refund.created",
		"order.payment", "refund.succeeded", // and the provider has done it
	}
	eventually(t, patience, "the webhooks", func() error {
		if got := hooked(t, box, *hook.Secret, order.Id.String()); !slices.Equal(got, want) {
			return fmt.Errorf("they told of %v", got)
		}
		return nil
	})
	eventually(t, patience, "the mails", func() error { return mailedAbout(t, box, "is on its way", "Your money back") })

	// In the evening the numbers are what happened, and everything can be taken away.
	web.wantNumbers(ctx, staff)
	if orders := web.exported(staff, commerce.TransferKindOrders); !strings.Contains(orders, order.Number) || !strings.Contains(orders, "30.10") {
		t.Errorf("the orders are %s", orders)
	}
	if stock := web.exported(staff, commerce.TransferKindStock); !strings.Contains(stock, "MUG") {
		t.Errorf("the stock is %s", stock)
	}
}

// mailedAbout wants mails with these words in their subjects.
func mailedAbout(t *testing.T, box string, words ...string) error {
	t.Helper()
	answer, err := http.Get(box + "/mails")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	for _, w := range words {
		if !bytes.Contains(raw, []byte(w)) {
			return errors.New("no mail says " + w)
		}
	}
	return nil
}

// wantNumbers waits until the statistics are those of one order that was not
// cancelled, and one that was.
func (s *shopper) wantNumbers(ctx context.Context, staff *commerce.ClientWithResponses) {
	s.t.Helper()
	eventually(s.t, patience, "the statistics", func() error {
		sales := ok[commerce.Sales](s.t)(staff.GetSalesWithResponse(ctx, &commerce.GetSalesParams{TimeZone: ptr("Europe/Berlin"), Granularity: ptr(commerce.StatisticsGranularityTotal)}))
		if len(sales.Currencies) != 1 {
			return fmt.Errorf("they are of %d currencies", len(sales.Currencies))
		}
		sum := sales.Currencies[0].Sum
		if sum.Orders != 1 || sum.Cancelled != 1 || sum.Items != 3 || sum.Total != "30.10" || sum.Refunded != "9.00" || sum.Net != "21.10" || sum.Discount != "2.80" {
			return fmt.Errorf("they are %s", jsonOf(s.t, sum))
		}
		return nil
	})
	coupons := ok[commerce.CouponStatistics](s.t)(staff.GetCouponStatisticsWithResponse(ctx, &commerce.GetCouponStatisticsParams{}))
	if len(coupons.Coupons) != 1 || *coupons.Coupons[0].Code != "TEN" || coupons.Coupons[0].Discount != "2.80" {
		s.t.Errorf("of coupons they say %s", jsonOf(s.t, coupons))
	}
}
