package jobschedule

import (
	"context"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/apply"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/refs"
	"gitee.com/captainjez/gocart/controllers/internal/versions"
	"gitee.com/captainjez/gocart/runtime/status"
)

// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=jobschedules,verbs=get;list;watch
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=jobschedules/status,verbs=patch
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=jobschedules/finalizers,verbs=update
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=stores,verbs=get;list;watch
// +kubebuilder:rbac:groups=batch,resources=cronjobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// storeIndex finds the JobSchedules of a Store.
const storeIndex = "spec.storeRef.name"

// Prober asks a pod what became of a schedule's jobs.
type Prober interface {
	Schedule(ctx context.Context, podIP, name string) (status.Schedule, error)
}

// Reconciler makes JobSchedules true.
type Reconciler struct {
	// Client reads from the cache; Live asks the API server.
	Client client.Client
	Live   client.Reader
	// Applier is for JobSchedules alone.
	Applier *apply.Applier
	Events  events.EventRecorder
	Prober  Prober
	// RuntimeRepository is used with a Store's spec.image that names only a version.
	RuntimeRepository string
	// Now is the clock of schedules and of condition transitions.
	Now func() time.Time

	memory   memory
	versions versions.Written
}

// SetupWithManager builds the controller and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.JobSchedule{}, storeIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.JobSchedule).Spec.StoreRef.Name}
	})
	if err != nil {
		return fmt.Errorf("indexing JobSchedules by their Store: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.JobSchedule{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&batchv1.CronJob{}).
		// A Store's status tells what is migrated, its Deployment what serves.
		Watches(&v1alpha1.Store{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return r.schedulesOf(ctx, client.ObjectKeyFromObject(o))
		})).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(r.schedulesOfDeployment), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(scheduleOf)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(scheduleOf)).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("building the JobSchedule controller: %w", err)
	}
	return nil
}

// scheduleOf is the JobSchedule that a Job or a pod is of.
func scheduleOf(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[plan.LabelSchedule]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

func (r *Reconciler) schedulesOfDeployment(ctx context.Context, o client.Object) []reconcile.Request {
	labels := o.GetLabels()
	if labels[plan.LabelComponent] != plan.ComponentAPI {
		return nil
	}
	return r.schedulesOf(ctx, types.NamespacedName{Namespace: o.GetNamespace(), Name: labels[plan.LabelInstance]})
}

func (r *Reconciler) schedulesOf(ctx context.Context, store types.NamespacedName) []reconcile.Request {
	var list v1alpha1.JobScheduleList
	if err := r.Client.List(ctx, &list, client.InNamespace(store.Namespace), client.MatchingFields{storeIndex: store.Name}); err != nil {
		log.FromContext(ctx).Error(err, "finding the JobSchedules of a Store", "store", store)
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// run is the state of one reconcile.
type run struct {
	schedule *v1alpha1.JobSchedule
	// store is nil where there is none.
	store *v1alpha1.Store
	// fires is when the CronJob does; nil while the spec can not be read.
	fires cron.Schedule
	now   time.Time

	accepted, scheduled, lastRun metav1.Condition
	// cronJob as it is, nil before there is one.
	cronJob *batchv1.CronJob
	// lookAgain is when to reconcile again though nothing changed; 0 for never.
	lookAgain time.Duration
}

// again has the run looked at again after a time at the latest.
func (run *run) again(after time.Duration) {
	if run.lookAgain == 0 || after < run.lookAgain {
		run.lookAgain = after
	}
}

// phases in their order. Each returns at once when an earlier one was not
// satisfied; an error is retried with growing pauses.
var phases = []func(*Reconciler, context.Context, *run) error{
	(*Reconciler).judge,
	(*Reconciler).apply,
	(*Reconciler).ask,
}

// Reconcile makes one JobSchedule true, and says what became of its jobs.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &v1alpha1.JobSchedule{}
	if err := r.Client.Get(ctx, req.NamespacedName, s); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.memory.forget(req.NamespacedName)
			r.Applier.Forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !s.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // Its CronJob goes with it, by its owner reference.
	}
	if r.versions.Behind(s) {
		return ctrl.Result{RequeueAfter: time.Second}, nil
	}
	store, others, err := refs.Store(ctx, r.Client, r.Live, types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.StoreRef.Name})
	if err != nil || others {
		return ctrl.Result{}, err
	}
	run := &run{schedule: s.DeepCopy(), store: store, now: r.Now()}
	for _, phase := range phases {
		if err := phase(r, ctx, run); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.report(ctx, s, run); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: run.lookAgain}, nil
}
