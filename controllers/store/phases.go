package store

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/conditions"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// phase is one concern of a reconcile.
type phase struct {
	name string
	// condition that an error of the phase falsifies; empty for none.
	condition string
	// required: nothing after it makes sense when it fails.
	required bool
	run      func(*Reconciler, context.Context, *run) error
}

// phases in their order. A phase reads what earlier ones put into the run, and
// returns at once when what it needs is not there.
var phases = []phase{
	{name: "protect data", run: (*Reconciler).protectData},
	{name: "generate credentials", required: true, run: (*Reconciler).generateCredentials},
	{name: "resolve database", condition: v1alpha1.DatabaseReadyCondition, run: (*Reconciler).resolveDatabase},
	{name: "resolve redis", condition: v1alpha1.RedisReadyCondition, run: (*Reconciler).resolveRedis},
	{name: "resolve mail", run: (*Reconciler).resolveMail},
	{name: "resolve payments", run: (*Reconciler).resolvePayments},
	{name: "plan", required: true, run: (*Reconciler).plan},
	{name: "secure", run: (*Reconciler).secure},
	{name: "configure", run: (*Reconciler).configure},
	{name: "database", condition: v1alpha1.DatabaseReadyCondition, run: (*Reconciler).database},
	{name: "redis", condition: v1alpha1.RedisReadyCondition, run: (*Reconciler).redis},
	{name: "certificate", condition: v1alpha1.CertificateReadyCondition, run: (*Reconciler).certificate},
	{name: "migrate", condition: v1alpha1.MigrationSucceededCondition, run: (*Reconciler).migrate},
	{name: "keep reports", run: (*Reconciler).keepReports},
	{name: "roll out", condition: v1alpha1.WorkloadsAvailableCondition, run: (*Reconciler).rollOut},
	{name: "scale workers", condition: v1alpha1.WorkersScaledCondition, run: (*Reconciler).scaleWorkers},
	{name: "expose", condition: v1alpha1.RouteReadyCondition, run: (*Reconciler).expose},
	{name: "monitor", run: (*Reconciler).monitor},
	{name: "ask the pods", run: (*Reconciler).askPods},
	{name: "deliver", run: (*Reconciler).deliver},
	{name: "prune", run: (*Reconciler).prune},
}

// run is the state of one reconcile.
type run struct {
	store      *v1alpha1.Store
	refs       plan.References
	conditions *conditions.Set

	// salt is unknown to who can only read pods, so that the hashes in their
	// annotations can not be tried against guesses.
	salt string
	// databaseHash and redisHash are empty while their Secrets are not known.
	databaseHash, redisHash string
	// mailHash is empty also for a store that has no mail.
	mailHash string
	// paymentsHash is empty also for a store without payment providers.
	paymentsHash string
	// certificate is what the TLS Secret holds, nil when there is none.
	certificate *secretFacts

	input   plan.Input
	objects plan.Objects
	// api is the Deployment as it is, nil before there is one.
	api *appsv1.Deployment
	// migration is the wanted image's Job as it is, nil before there is one.
	migration *batchv1.Job
	migrated  bool
	// configured: the ConfigMap in the cache is as planned.
	configured bool
	// databaseUp: the managed database serves, or the database is not managed.
	databaseUp bool
	// lookAgain is when to reconcile again though no phase failed.
	lookAgain time.Duration
}

func newRun(s *v1alpha1.Store) *run {
	return &run{store: s, refs: plan.Refs(s), conditions: conditions.New(), lookAgain: recheckInterval}
}

// get reads an object from the cache; nil when there is none.
func get[T client.Object](ctx context.Context, c client.Reader, namespace, name string, into T) (T, error) {
	var none T
	err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	return into, nil
}

// apply makes objects exist as planned; it tells whether all already were. A
// paused Store's are left as they are.
func (r *Reconciler) apply(ctx context.Context, run *run, objects []client.Object) (current bool, err error) {
	current = true
	if run.store.Spec.Paused {
		return current, nil
	}
	for _, o := range objects {
		is, applyErr := r.Applier.Apply(ctx, run.store, o)
		current = current && is
		if applyErr != nil && err == nil {
			err = applyErr
		}
	}
	return current, err
}
