package workerscaler

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/controllers/internal/refs"
	"gitee.com/captainjez/gocart/controllers/internal/versions"
	"gitee.com/captainjez/gocart/runtime/status"
)

// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=stores,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments/scale,verbs=patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

const (
	fieldOwner = client.FieldOwner(plan.Manager + "-workerscaler")

	// look is how often queues are looked at: of the ten seconds within which the
	// first job is to have a worker, a pod's start takes most.
	look = 3 * time.Second
)

// Prober asks a pod for the queues.
type Prober interface {
	Jobs(ctx context.Context, podIP string) (status.Jobs, error)
}

// Reconciler scales the workers of Stores.
type Reconciler struct {
	Client client.Client
	Events events.EventRecorder
	Prober Prober
	// Now is the clock of what was wanted when.
	Now func() time.Time

	mu        sync.Mutex
	histories map[types.NamespacedName]*History
	versions  versions.Written
}

// SetupWithManager builds the controller. A look is a reconcile.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("workerscaler").
		For(&v1alpha1.Store{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("building the controller that scales workers: %w", err)
	}
	return nil
}

// Reconcile looks at the queues of one Store.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &v1alpha1.Store{}
	if err := r.Client.Get(ctx, req.NamespacedName, s); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if !scaled(s) { // or gone
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err := r.scale(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: look}, nil
}

// scaled tells whether the workers' number is ours to decide.
func scaled(s *v1alpha1.Store) bool {
	a := s.Spec.Worker.Autoscaling
	return a != nil && a.Provider == v1alpha1.ScalingNative && !s.Spec.Paused && s.DeletionTimestamp.IsZero()
}

func (r *Reconciler) scale(ctx context.Context, s *v1alpha1.Store) error {
	d := &appsv1.Deployment{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: plan.Name(s.Name, plan.ComponentWorker)}, d)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the workers' Deployment: %w", err)
	}
	// Until the Store controller has let go of spec.replicas, it would put them
	// back; and what the cache tells from before our last write decides nothing.
	if s.Status.ObservedGeneration != s.Generation || d.Spec.Replicas == nil || r.versions.Behind(d) {
		return nil
	}
	another, err := refs.OtherAutoscaler(ctx, r.Client, s, d)
	if err != nil || another != "" {
		return err
	}
	jobs, err := probe.Any(ctx, r.Client, client.ObjectKeyFromObject(s), r.Prober.Jobs)
	if jobs == nil {
		why := "no pod is ready"
		if err != nil {
			why = err.Error()
		}
		log.FromContext(ctx).V(1).Info("nobody tells of the queues: the workers stay as many as they are", "why", why)
		return nil
	}
	current := *d.Spec.Replicas
	next, why := r.history(client.ObjectKeyFromObject(s)).Decide(bounds(s), jobs.Queues, current, r.Now())
	if next == current {
		return nil
	}
	scale := &autoscalingv1.Scale{}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q},"spec":{"replicas":%d}}`, d.ResourceVersion, next))
	if err := r.Client.SubResource("scale").Patch(ctx, d, patch, client.WithSubResourceBody(scale), fieldOwner); err != nil {
		if apierrors.IsConflict(err) {
			return nil // Somebody was faster, and the next look sees what they did.
		}
		return fmt.Errorf("scaling Deployment %s: %w", d.Name, err)
	}
	r.versions.Wrote(scale)
	r.Events.Eventf(s, d, corev1.EventTypeNormal, "WorkersScaled", "Scale", "from %d to %d worker pods: %s", current, next, why)
	return nil
}

// bounds of a Store. One whose API has no pods keeps a worker: nobody else could
// tell of the first job.
func bounds(s *v1alpha1.Store) Bounds {
	a := s.Spec.Worker.Autoscaling
	config := plan.Worker(s)
	b := Bounds{
		Min: plan.MinWorkers(s), Max: a.MaxReplicas,
		Target: int64(*a.TargetWaitingPerReplica), MaxAge: a.MaxAge.Duration, Window: a.ScaleDownAfter.Duration,
		Capacity: int64(config.Workers) * int64(config.Concurrency), Queues: config.Queues,
	}
	if plan.MinAPI(s) == 0 {
		b.Min = max(b.Min, 1)
	}
	return b
}

func (r *Reconciler) history(store types.NamespacedName) *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.histories == nil {
		r.histories = map[types.NamespacedName]*History{}
	}
	if r.histories[store] == nil {
		r.histories[store] = &History{}
	}
	return r.histories[store]
}

func (r *Reconciler) forget(store types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.histories, store)
}
