package store

import (
	"context"
	"fmt"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/keda"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
)

// secretIndex finds the Stores that depend on a Secret.
const secretIndex = "spec.secretNames"

// children are the kinds that a Store owns in every cluster.
func children() []client.Object {
	return []client.Object{
		&appsv1.Deployment{}, &appsv1.StatefulSet{}, &batchv1.Job{},
		&corev1.Service{}, &corev1.ConfigMap{},
		&networkingv1.Ingress{}, &networkingv1.NetworkPolicy{},
		&autoscalingv2.HorizontalPodAutoscaler{}, &policyv1.PodDisruptionBudget{},
	}
}

// optionalChildren are the kinds of APIs that a cluster may lack.
func optionalChildren(api capability.API) []client.Object {
	switch api {
	case capability.CertManager:
		return []client.Object{&certmanagerv1.Certificate{}, &certmanagerv1.Issuer{}}
	case capability.GatewayAPI:
		return []client.Object{&gatewayv1.HTTPRoute{}}
	case capability.KEDA:
		return []client.Object{&keda.ScaledObject{}, &keda.TriggerAuthentication{}}
	case capability.Prometheus:
		return []client.Object{&monitoringv1.ServiceMonitor{}}
	}
	return nil
}

// CacheOptions is the shape of the cache: what carries our label, and all objects
// of our own kinds, all HorizontalPodAutoscalers, and the metadata of all Secrets.
// stores, when not nil, is the shard of Stores that this operator looks after.
func CacheOptions(namespaces []string, stores labels.Selector) cache.Options {
	if stores == nil {
		stores = labels.Everything()
	}
	options := cache.Options{
		// Not by kind, for a kind that the cluster lacks can not be named yet.
		DefaultLabelSelector: labels.SelectorFromSet(labels.Set{plan.LabelManagedBy: plan.Manager}),
		DefaultTransform:     cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.Store{}: {Label: stores},
			// Whether it is of the shard is told by its Store.
			&v1alpha1.RateLimitPolicy{}: {Label: labels.Everything()},
			&v1alpha1.JobSchedule{}:     {Label: labels.Everything()},
			secretMetadata():            {Label: labels.Everything(), Transform: nameOnly},
			// Somebody's may scale what is ours.
			&autoscalingv2.HorizontalPodAutoscaler{}: {Label: labels.Everything()},
			// Who owns spec.replicas is read from its managed fields.
			&appsv1.Deployment{}: {Transform: func(o any) (any, error) { return o, nil }},
		},
	}
	if len(namespaces) > 0 {
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, ns := range namespaces {
			options.DefaultNamespaces[ns] = cache.Config{}
		}
	}
	return options
}

// nameOnly keeps of a foreign Secret's metadata what is compared, so that
// thousands of them cost little.
func nameOnly(o any) (any, error) {
	if m, ok := o.(client.Object); ok {
		m.SetManagedFields(nil)
		m.SetAnnotations(nil)
		if m.GetLabels()[plan.LabelManagedBy] != plan.Manager {
			m.SetLabels(nil)
			m.SetOwnerReferences(nil)
		}
	}
	return o, nil
}

// SetupWithManager builds the controller and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.Store{}, secretIndex, func(o client.Object) []string {
		return plan.Refs(o.(*v1alpha1.Store)).SecretNames()
	})
	if err != nil {
		return fmt.Errorf("indexing Stores by their Secrets: %w", err)
	}
	appeared := make(chan event.GenericEvent)
	changed := predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	b := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Store{}, builder.WithPredicates(changed)).
		WatchesMetadata(secretMetadata(), handler.EnqueueRequestsFromMapFunc(r.storesOfSecret)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(storeOfPod)).
		Watches(&autoscalingv2.HorizontalPodAutoscaler{}, handler.EnqueueRequestsFromMapFunc(r.storeOfTarget)).
		Watches(&v1alpha1.RateLimitPolicy{}, handler.EnqueueRequestsFromMapFunc(policies.StoreOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(appeared, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency})
	for _, o := range children() {
		b = b.Owns(o)
	}
	for _, api := range capability.All() {
		if r.Capabilities.Has(api) {
			for _, o := range optionalChildren(api) {
				b = b.Owns(o)
			}
		}
	}
	c, err := b.Build(r)
	if err != nil {
		return fmt.Errorf("building the Store controller: %w", err)
	}
	r.Capabilities.OnAppear(
		func(api capability.API) error { return watchOwned(mgr, c, optionalChildren(api)) },
		func(ctx context.Context) { r.lookAtAll(ctx, appeared) },
	)
	return mgr.Add(r.Capabilities)
}

func watchOwned(mgr ctrl.Manager, c controller.Controller, objects []client.Object) error {
	for _, o := range objects {
		owner := handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &v1alpha1.Store{}, handler.OnlyControllerOwner())
		if err := c.Watch(source.Kind(mgr.GetCache(), o, owner)); err != nil {
			return fmt.Errorf("watching %T: %w", o, err)
		}
	}
	return nil
}

// lookAtAll has every Store reconciled, for an API that some may wait for.
func (r *Reconciler) lookAtAll(ctx context.Context, to chan<- event.GenericEvent) {
	var stores v1alpha1.StoreList
	if err := r.Client.List(ctx, &stores); err != nil {
		log.FromContext(ctx).Error(err, "listing Stores; they are looked at again within a minute")
		return
	}
	for i := range stores.Items {
		select {
		case to <- event.GenericEvent{Object: &stores.Items[i]}:
		case <-ctx.Done():
			return
		}
	}
}

func (r *Reconciler) storesOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	var stores v1alpha1.StoreList
	err := r.Client.List(ctx, &stores, client.InNamespace(secret.GetNamespace()), client.MatchingFields{secretIndex: secret.GetName()})
	if err != nil {
		log.FromContext(ctx).Error(err, "finding the Stores of a Secret", "secret", client.ObjectKeyFromObject(secret))
		return nil
	}
	requests := make([]reconcile.Request, 0, len(stores.Items))
	for i := range stores.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&stores.Items[i])})
	}
	return requests
}

// storeOfTarget is the Store whose Deployment an autoscaler scales.
func (r *Reconciler) storeOfTarget(ctx context.Context, o client.Object) []reconcile.Request {
	target := o.(*autoscalingv2.HorizontalPodAutoscaler).Spec.ScaleTargetRef
	if target.Kind != "Deployment" {
		return nil
	}
	d, err := get(ctx, r.Client, o.GetNamespace(), target.Name, &appsv1.Deployment{})
	if err != nil || d == nil {
		return nil // None of ours.
	}
	return storeOfPod(ctx, d)
}

func storeOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetLabels()[plan.LabelInstance]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}
