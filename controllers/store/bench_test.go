package store_test

import (
	"context"
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/controllers/store"
	"gitee.com/captainjez/gocart/runtime/status"
)

const production = issued + `
api: {autoscaling: {minReplicas: 2, maxReplicas: 4}}
worker: {replicas: 2}
exposure: {ingress: {className: haproxy}}
security: {trustedProxies: [10.0.0.0/8]}`

// atHand answers for a pod without asking one.
type atHand struct{}

func (atHand) Status(context.Context, string) (status.Status, error) { return allIsWell, nil }

func steadyStore(b *testing.B) (*world, ctrl.Request) {
	w := newWorld(b)
	w.create("shop", production)
	w.untilReady("shop")
	w.quiet("shop")
	return w, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: "shop"}}
}

// What a Store costs every time that it is looked at and nothing changed: with
// a pod asked over HTTP, as it is, and the operator's own part alone.
func BenchmarkSteadyReconcile(b *testing.B) {
	w, request := steadyStore(b)
	for _, c := range []struct {
		name   string
		prober probe.Prober
	}{{"pod=asked", w.operator.reconciler.Prober}, {"pod=at-hand", atHand{}}} {
		b.Run(c.name, func(b *testing.B) {
			r := w.operator.reconciler
			r = &store.Reconciler{
				Client: r.Client, Live: r.Live, Applier: r.Applier, Capabilities: r.Capabilities, Events: r.Events,
				Prober: c.prober, Options: r.Options, Now: r.Now,
			}
			before := len(w.operator.requests.about(w.namespace))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Reconcile(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
			// Its Secrets are read once by a fresh Reconciler.
			b.ReportMetric(float64(len(w.operator.requests.about(w.namespace))-before)/float64(b.N), "requests/op")
		})
	}
}

// The floor: the same Store's children once through the JSON encoder.
func BenchmarkMarshalChildren(b *testing.B) {
	w, _ := steadyStore(b)
	var all []client.Object
	for _, list := range childLists() {
		if err := w.client.List(b.Context(), list, client.InNamespace(w.namespace)); err != nil {
			b.Fatal(err)
		}
		_ = meta.EachListItem(list, func(o runtime.Object) error { all = append(all, o.(client.Object)); return nil })
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, o := range all {
			if _, err := json.Marshal(o); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(len(all)), "objects")
}
