package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// labelReports marks pods that hold a volume of reports which one node at a
// time can hold.
const labelReports = "commerce.rcommerce.app/reports"

// ReportsClaim is the volume of reports.
func ReportsClaim(store string) string { return Name(store, "reports") }

// Reports is the claim of the volume of reports; nil where the store has none.
// Nobody owns it, so that it outlives its Store.
func Reports(s *v1alpha1.Store) *corev1.PersistentVolumeClaim {
	if s.Spec.Reports == nil {
		return nil
	}
	volume := s.Spec.Reports.Volume
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	if len(volume.AccessModes) > 0 {
		modes = nil
		for _, m := range volume.AccessModes {
			modes = append(modes, corev1.PersistentVolumeAccessMode(m))
		}
	}
	return &corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: ReportsClaim(s.Name), Namespace: s.Namespace, Labels: Labels(s.Name, "reports")},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      modes,
			StorageClassName: volume.ClassName,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceStorage: orDefault(volume.Size, quantity("1Gi")),
			}},
		},
	}
}

// withReports has pods hold the volume of reports. Where one node at a time can
// hold it, they go to the node where one of them is: elsewhere they would wait
// for the volume without end.
func withReports(in Input, template corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	if in.Store.Spec.Reports == nil {
		return template
	}
	pod := &template.Spec
	c := &pod.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "reports", MountPath: reportsDir})
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "reports", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: ReportsClaim(in.Store.Name)},
	}})
	if slices.Contains(in.Store.Spec.Reports.Volume.AccessModes, v1alpha1.ReadWriteMany) {
		return template
	}
	template.Labels[labelReports] = "true"
	affinity := pod.Affinity.DeepCopy()
	if affinity == nil {
		affinity = &corev1.Affinity{}
	}
	if affinity.PodAffinity == nil {
		affinity.PodAffinity = &corev1.PodAffinity{}
	}
	required := &affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	*required = append(*required, corev1.PodAffinityTerm{
		TopologyKey: corev1.LabelHostname,
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
			LabelName: "gocart", LabelInstance: in.Store.Name, labelReports: "true",
		}},
	})
	pod.Affinity = affinity
	return template
}
