package store

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// expose makes the way in, and tells whether it leads to the store.
func (r *Reconciler) expose(ctx context.Context, run *run) error {
	s := run.store
	e := s.Spec.Exposure
	name := plan.Name(s.Name, plan.ComponentAPI)
	if e != nil && e.Gateway != nil && !r.Capabilities.Has(capability.GatewayAPI) {
		return outcome.Waiting(v1alpha1.ReasonAPIMissing, 0, "the cluster has no %s: install %s, or set spec.exposure.ingress", capability.GatewayAPI.GroupVersion, capability.GatewayAPI.Install)
	}
	current, err := r.apply(ctx, run, run.objects.Exposure)
	if err != nil {
		return err
	}
	if !current {
		return outcome.Waiting(v1alpha1.ReasonProgressing, 0, "Service %s was just applied", name)
	}
	service, err := get(ctx, r.Client, s.Namespace, name, &corev1.Service{})
	if err != nil {
		return fmt.Errorf("reading Service %s: %w", name, err)
	}
	if service == nil {
		return outcome.Waiting(v1alpha1.ReasonProgressing, 0, "Service %s is not there yet", name)
	}
	message := fmt.Sprintf("Service %s of type %s leads to the store", name, service.Spec.Type)
	if service.Spec.Type == corev1.ServiceTypeLoadBalancer && len(service.Status.LoadBalancer.Ingress) == 0 {
		return outcome.Waiting(v1alpha1.ReasonAddressPending, 0, "Service %s has no address yet: the cluster needs a controller of load balancers", name)
	}
	switch {
	case e == nil:
	case e.Ingress != nil:
		message, err = r.ingressAddress(ctx, s, name)
	case e.Gateway != nil:
		message, err = r.routeAccepted(ctx, s, name)
	}
	if err != nil {
		return err
	}
	run.conditions.True(v1alpha1.RouteReadyCondition, v1alpha1.ReasonServed, message)
	return nil
}

// ingressAddress: not every ingress controller publishes an address, so that
// its absence is told and is no failure.
func (r *Reconciler) ingressAddress(ctx context.Context, s *v1alpha1.Store, name string) (string, error) {
	i, err := get(ctx, r.Client, s.Namespace, name, &networkingv1.Ingress{})
	if err != nil {
		return "", fmt.Errorf("reading Ingress %s: %w", name, err)
	}
	if i == nil || len(i.Status.LoadBalancer.Ingress) == 0 {
		return "Ingress " + name + " is in place; its controller has published no address", nil
	}
	at := i.Status.LoadBalancer.Ingress[0]
	return "Ingress " + name + " leads to the store at " + firstOf(at.Hostname, at.IP), nil
}

func (r *Reconciler) routeAccepted(ctx context.Context, s *v1alpha1.Store, name string) (string, error) {
	route, err := get(ctx, r.Client, s.Namespace, name, &gatewayv1.HTTPRoute{})
	if err != nil {
		return "", fmt.Errorf("reading HTTPRoute %s: %w", name, err)
	}
	if route == nil || len(route.Status.Parents) == 0 {
		return "", outcome.Waiting(v1alpha1.ReasonNotAccepted, 0, "no Gateway has answered for HTTPRoute %s: see that spec.exposure.gateway.parentRefs name one that runs", name)
	}
	for _, p := range route.Status.Parents {
		for _, t := range []string{string(gatewayv1.RouteConditionAccepted), string(gatewayv1.RouteConditionResolvedRefs)} {
			c := meta.FindStatusCondition(p.Conditions, t)
			if c == nil || c.Status != "True" || c.ObservedGeneration < route.Generation {
				why := "it has not answered yet"
				if c != nil {
					why = c.Reason + ": " + diagnosis.Clip(c.Message)
				}
				return "", outcome.Waiting(v1alpha1.ReasonNotAccepted, 0, "Gateway %s does not serve HTTPRoute %s: %s", p.ParentRef.Name, name, why)
			}
		}
	}
	return "HTTPRoute " + name + " is accepted", nil
}

func (r *Reconciler) monitor(ctx context.Context, run *run) error {
	if len(run.objects.Monitoring) > 0 && !r.Capabilities.Has(capability.Prometheus) {
		return outcome.Waiting(v1alpha1.ReasonAPIMissing, time.Minute, "spec.observability.serviceMonitor needs %s, which the cluster does not have: install %s, or remove it", capability.Prometheus.GroupVersion, capability.Prometheus.Install)
	}
	_, err := r.apply(ctx, run, run.objects.Monitoring)
	return err
}
