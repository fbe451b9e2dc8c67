package store

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/apply"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/controllers/internal/versions"
)

// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=stores,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=stores/status,verbs=patch
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=stores/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=commerce.rcommerce.app,resources=ratelimitpolicies,verbs=get;list;watch
// Pods are patched to have their kubelet bring a changed edge.yaml at once (edge.go).
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses;networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates;issuers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests,verbs=list
// +kubebuilder:rbac:groups=acme.cert-manager.io,resources=challenges,verbs=list
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=keda.sh,resources=scaledobjects;triggerauthentications,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=monitoring.coreos.com,resources=servicemonitors,verbs=get;list;watch;create;patch;delete

// recheckInterval is how often a Store is looked at although nothing changed:
// whether an external Redis answers is nothing that a watch tells.
const recheckInterval = time.Minute

// catchUp is what the cache is given to tell of our own last write.
const catchUp = 100 * time.Millisecond

// Options are what an installation decides for all its Stores.
type Options struct {
	// Defaults are the images of a Store that names none.
	Defaults plan.Images
	// RuntimeRepository is used with a spec.image that names only a version.
	RuntimeRepository string
	ACME              plan.ACME
	// Namespace is the operator's own.
	Namespace string
}

// Reconciler makes Stores true.
type Reconciler struct {
	// Client reads from the cache; Live asks the API server.
	Client       client.Client
	Live         client.Reader
	Applier      *apply.Applier
	Capabilities *capability.Set
	Events       events.EventRecorder
	Prober       probe.Prober
	Options      Options
	// Now is the clock of condition transitions.
	Now func() time.Time

	secrets    secretReader
	deliveries deliveries
	edges      policies.Edges
	versions   versions.Written
}

// Reconcile makes one Store true, and says how far it came.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &v1alpha1.Store{}
	if err := r.Client.Get(ctx, req.NamespacedName, s); err != nil {
		if apierrors.IsNotFound(err) {
			r.secrets.forget(req.NamespacedName)
			r.deliveries.forget(req.NamespacedName)
			r.edges.Forget(req.NamespacedName)
			r.Applier.Forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !s.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.finalize(ctx, s)
	}
	// Compared with an older status, a new one might seem to say nothing new.
	if r.versions.Behind(s) {
		return ctrl.Result{RequeueAfter: catchUp}, nil
	}

	run := newRun(s.DeepCopy())
	var errs []error
	for _, p := range phases {
		err := p.run(r, ctx, run)
		if err == nil {
			continue
		}
		errs = append(errs, err)
		log.FromContext(ctx).V(1).Info("a phase is not done", "phase", p.name, "why", err.Error())
		if p.condition == "" {
			run.conditions.Note(err)
		} else {
			run.conditions.Fail(p.condition, err)
		}
		if p.required {
			break
		}
	}
	if err := r.report(ctx, s, run); err != nil {
		return ctrl.Result{}, err
	}
	return result(errs, run.lookAgain)
}

// result decides when to look again: untyped errors back off, typed ones say
// when, terminal ones wait for a change. Without any it is after the given time.
func result(errs []error, after time.Duration) (ctrl.Result, error) {
	var retry []error
	for _, err := range errs {
		e, typed := outcome.As(err)
		switch {
		case !typed:
			retry = append(retry, err)
		case e.After > 0 && e.After < after:
			after = e.After
		}
	}
	if len(retry) > 0 {
		return ctrl.Result{}, errors.Join(retry...)
	}
	return ctrl.Result{RequeueAfter: after}, nil
}
