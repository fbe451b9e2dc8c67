package plan

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func networkPolicyWanted(in Input) bool {
	p := in.Store.Spec.NetworkPolicy
	return p == nil || orDefault(p.Enabled, true)
}

func apiNetworkPolicy(in Input) *networkingv1.NetworkPolicy {
	var from []networkingv1.NetworkPolicyPeer
	if p := in.Store.Spec.NetworkPolicy; p != nil {
		from = p.PublicFrom
	}
	public := networkingv1.NetworkPolicyIngressRule{From: from, Ports: tcpPorts(httpPort, httpsPort)}
	return networkPolicy(in, ComponentAPI, public, internalRule(in))
}

func workerNetworkPolicy(in Input) *networkingv1.NetworkPolicy {
	return networkPolicy(in, ComponentWorker, internalRule(in))
}

// jobNetworkPolicy: nobody has anything to ask the pods of schedules.
func jobNetworkPolicy(in Input) *networkingv1.NetworkPolicy {
	return networkPolicy(in, ComponentJob)
}

func postgresNetworkPolicy(in Input) *networkingv1.NetworkPolicy {
	if in.Store.Spec.Database.Managed == nil {
		return nil
	}
	rules := []networkingv1.NetworkPolicyIngressRule{storeRule(in, postgresPort, ComponentAPI, ComponentWorker, ComponentJob, ComponentMigrate)}
	if byKEDA(in) != nil {
		rules = append(rules, networkingv1.NetworkPolicyIngressRule{
			From: []networkingv1.NetworkPolicyPeer{{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: kedaNamespace}, PodSelector: &metav1.LabelSelector{MatchLabels: kedaPods},
			}},
			Ports: tcpPorts(postgresPort),
		})
	}
	return networkPolicy(in, ComponentPostgres, rules...)
}

func redisNetworkPolicy(in Input) *networkingv1.NetworkPolicy {
	if in.Store.Spec.Redis.Managed == nil {
		return nil
	}
	return networkPolicy(in, ComponentRedis, storeRule(in, redisPort, ComponentAPI, ComponentWorker, ComponentJob))
}

func networkPolicy(in Input, component string, rules ...networkingv1.NetworkPolicyIngressRule) *networkingv1.NetworkPolicy {
	if !networkPolicyWanted(in) {
		return nil
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: meta(in, component, component),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: Selector(in.Store.Name, component)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     rules,
		},
	}
}

// internalRule lets the operator, and whom the spec names, reach the internal port.
func internalRule(in Input) networkingv1.NetworkPolicyIngressRule {
	from := []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: in.OperatorNamespace}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{labelComponent: "operator"}},
	}}
	if p := in.Store.Spec.NetworkPolicy; p != nil {
		from = append(from, p.MetricsFrom...)
	}
	return networkingv1.NetworkPolicyIngressRule{From: from, Ports: tcpPorts(InternalPort)}
}

func storeRule(in Input, port int, components ...string) networkingv1.NetworkPolicyIngressRule {
	return networkingv1.NetworkPolicyIngressRule{
		From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{
			MatchLabels: map[string]string{LabelName: "gocart", LabelInstance: in.Store.Name},
			MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: LabelComponent, Operator: metav1.LabelSelectorOpIn, Values: components,
			}},
		}}},
		Ports: tcpPorts(port),
	}
}

func tcpPorts(ports ...int) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, p := range ports {
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: ptr(corev1.ProtocolTCP), Port: ptr(intstr.FromInt32(int32(p)))})
	}
	return out
}
