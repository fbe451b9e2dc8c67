package plan

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func monitored(in Input) *v1alpha1.ServiceMonitorSpec {
	if o := in.Store.Spec.Observability; o != nil {
		return o.ServiceMonitor
	}
	return nil
}

// internalService exists for the ServiceMonitor to select; it is headless.
func internalService(in Input) *corev1.Service {
	if monitored(in) == nil {
		return nil
	}
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(in, "internal", "internal"),
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone,
			Selector:  map[string]string{LabelName: "gocart", LabelInstance: in.Store.Name, labelInternal: "true"},
			Ports:     []corev1.ServicePort{{Name: "internal", Port: InternalPort, TargetPort: intstr.FromString("internal"), Protocol: corev1.ProtocolTCP}},
		},
	}
}

func serviceMonitor(in Input) *monitoringv1.ServiceMonitor {
	spec := monitored(in)
	if spec == nil {
		return nil
	}
	m := meta(in, "internal", "internal")
	for k, v := range spec.Labels {
		if _, ours := m.Labels[k]; !ours {
			m.Labels[k] = v
		}
	}
	interval := monitoringv1.Duration("30s")
	if spec.Interval != nil {
		interval = monitoringv1.Duration(spec.Interval.Duration.String())
	}
	return &monitoringv1.ServiceMonitor{
		TypeMeta:   metav1.TypeMeta{APIVersion: "monitoring.coreos.com/v1", Kind: "ServiceMonitor"},
		ObjectMeta: m,
		Spec: monitoringv1.ServiceMonitorSpec{
			Selector:     metav1.LabelSelector{MatchLabels: Selector(in.Store.Name, "internal")},
			Endpoints:    []monitoringv1.Endpoint{{Port: "internal", Interval: interval}},
			TargetLabels: []string{LabelInstance},
		},
	}
}
