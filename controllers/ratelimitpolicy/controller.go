package ratelimitpolicy

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/controllers/internal/refs"
	"gitee.com/captainjez/gocart/controllers/internal/versions"
)

// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=ratelimitpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=ratelimitpolicies/status,verbs=patch
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=stores,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Pods tell by no event what they run, so they are asked: often at first and
// ever less often while some run other settings, and steadily while all run
// these.
const (
	askSoonest = 500 * time.Millisecond
	askSteady  = 10 * time.Second
)

// Reconciler tells what became of the policies of Stores.
type Reconciler struct {
	// Client reads from the cache; Live asks the API server.
	Client client.Client
	Live   client.Reader
	Events events.EventRecorder
	Prober probe.Prober
	// Now is the clock of condition transitions.
	Now func() time.Time

	memory   memory
	edges    policies.Edges
	versions versions.Written
}

// SetupWithManager builds the controller and its watches. policies.Index has
// been called.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("ratelimitpolicy").
		Watches(&v1alpha1.RateLimitPolicy{}, handler.EnqueueRequestsFromMapFunc(policies.StoreOf), changed).
		Watches(&v1alpha1.Store{}, &handler.EnqueueRequestForObject{}, changed).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(storeOfPod)).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("building the RateLimitPolicy controller: %w", err)
	}
	return nil
}

func storeOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	labels := pod.GetLabels()
	if labels[plan.LabelComponent] != plan.ComponentAPI || labels[plan.LabelInstance] == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: labels[plan.LabelInstance]}}}
}

// Reconcile looks at all policies of one Store, which the request names.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	list, err := policies.Of(ctx, r.Client, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(list) == 0 {
		r.memory.forget(req.NamespacedName)
		r.edges.Forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	store, others, err := refs.Store(ctx, r.Client, r.Live, req.NamespacedName)
	if err != nil || others {
		return ctrl.Result{}, err
	}
	known := r.memory.of(req.NamespacedName, list)
	run := &run{key: req.NamespacedName, store: store}
	if store != nil {
		if run.edge, err = r.edges.Of(store, list); err != nil {
			return ctrl.Result{}, err
		}
		if run.anyAccepted() {
			if run.rollout, err = r.ask(ctx, store, run.edge.Hash); err != nil {
				return ctrl.Result{}, err
			}
		}
		known.compare(run.edge.Hash, run.rollout.complete(), r.Now())
	}
	var errs []error
	again := time.Duration(0)
	for i := range list {
		current, err := r.report(ctx, run, known, &list[i])
		if err != nil {
			errs = append(errs, err)
		}
		if !current {
			again = askSoonest
		}
	}
	if err := errors.Join(errs...); err != nil {
		return ctrl.Result{}, err
	}
	if again == 0 {
		again = known.askAgain(run, r.Now())
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// run is what one reconcile found.
type run struct {
	key types.NamespacedName
	// store is nil where there is none.
	store   *v1alpha1.Store
	edge    plan.EdgeFile
	rollout rollout
}

func (r *run) anyAccepted() bool {
	for _, v := range r.edge.Verdicts {
		if v.Refused == nil {
			return true
		}
	}
	return false
}
