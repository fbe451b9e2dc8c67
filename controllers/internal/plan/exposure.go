package plan

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// apiService leads to the public ports only; the internal one has a Service
// of its own.
func apiService(in Input) *corev1.Service {
	spec := v1alpha1.ServiceSpec{}
	if e := in.Store.Spec.Exposure; e != nil {
		spec = e.Service
	}
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: withAnnotations(meta(in, ComponentAPI, ComponentAPI), spec.Annotations),
		Spec: corev1.ServiceSpec{
			Type:                  orType(spec.Type),
			Selector:              Selector(in.Store.Name, ComponentAPI),
			LoadBalancerClass:     spec.LoadBalancerClass,
			ExternalTrafficPolicy: spec.ExternalTrafficPolicy,
			Ports: []corev1.ServicePort{{
				Name: "http", Port: 80, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP, AppProtocol: ptr("http"),
			}},
		},
	}
	if !TLSDisabled(in.Store) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: "https", Port: 443, TargetPort: intstr.FromString("https"), Protocol: corev1.ProtocolTCP, AppProtocol: ptr("https"),
		})
	}
	return s
}

func orType(t corev1.ServiceType) corev1.ServiceType {
	if t == "" {
		return corev1.ServiceTypeClusterIP
	}
	return t
}

// ingress leads to the plain port: its controller ends TLS, with the store's
// certificate, and says so in X-Forwarded-Proto, which the runtime believes
// from trusted proxies alone.
func ingress(in Input) *networkingv1.Ingress {
	e := in.Store.Spec.Exposure
	if e == nil || e.Ingress == nil {
		return nil
	}
	i := &networkingv1.Ingress{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"},
		ObjectMeta: withAnnotations(meta(in, ComponentAPI, ComponentAPI), e.Ingress.Annotations),
		Spec:       networkingv1.IngressSpec{IngressClassName: ptr(e.Ingress.ClassName)},
	}
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: Name(in.Store.Name, ComponentAPI), Port: networkingv1.ServiceBackendPort{Name: "http"},
	}}
	for _, host := range in.Store.Spec.Domains {
		i.Spec.Rules = append(i.Spec.Rules, networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: ptr(networkingv1.PathTypePrefix), Backend: backend,
			}}},
		}})
	}
	if secret := CertificateSecret(in.Store); secret != "" {
		i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: in.Store.Spec.Domains, SecretName: secret}}
	}
	return i
}

// httpRoute leads to the plain port; the Gateway's listeners end TLS.
func httpRoute(in Input) *gatewayv1.HTTPRoute {
	e := in.Store.Spec.Exposure
	if e == nil || e.Gateway == nil {
		return nil
	}
	r := &gatewayv1.HTTPRoute{
		TypeMeta:   metav1.TypeMeta{APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute"},
		ObjectMeta: meta(in, ComponentAPI, ComponentAPI),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: e.Gateway.ParentRefs},
			Rules: []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{
					Name: gatewayv1.ObjectName(Name(in.Store.Name, ComponentAPI)), Port: ptr(gatewayv1.PortNumber(80)),
				},
			}}}}},
		},
	}
	for _, d := range in.Store.Spec.Domains {
		r.Spec.Hostnames = append(r.Spec.Hostnames, gatewayv1.Hostname(d))
	}
	return r
}
