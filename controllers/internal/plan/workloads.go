package plan

import (
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func apiDeployment(in Input, configHash string) *appsv1.Deployment {
	pod := withSecrets(in, runtimePod(in, ComponentAPI, in.Images.Serving, []string{"api"}))
	c := &pod.Containers[0]
	c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: httpPort}, {Name: "internal", ContainerPort: InternalPort}}
	if secret := CertificateSecret(in.Store); secret != "" {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: "https", ContainerPort: httpsPort})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "tls", MountPath: tlsDir, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, secretVolume("tls", secret,
			corev1.KeyToPath{Key: corev1.TLSCertKey, Path: corev1.TLSCertKey},
			corev1.KeyToPath{Key: corev1.TLSPrivateKeyKey, Path: corev1.TLSPrivateKeyKey}))
	}
	return deployment(in, ComponentAPI, configHash, in.Store.Spec.API.WorkloadSpec, pod)
}

func workerDeployment(in Input, configHash string) *appsv1.Deployment {
	pod := withSecrets(in, runtimePod(in, ComponentWorker, in.Images.Serving, []string{"worker"}))
	pod.Containers[0].Ports = []corev1.ContainerPort{{Name: "internal", ContainerPort: InternalPort}}
	d := deployment(in, ComponentWorker, configHash, in.Store.Spec.Worker.WorkloadSpec, pod)
	d.Spec.Template = withReports(in, d.Spec.Template)
	return d
}

func deployment(in Input, component, configHash string, spec v1alpha1.WorkloadSpec, pod corev1.PodSpec) *appsv1.Deployment {
	selector := Selector(in.Store.Name, component)
	pod = schedule(pod, spec.Scheduling, selector)
	// The runtime itself goes on taking connections while endpoints are
	// removed everywhere, and then drains: no hook is needed.
	pod.TerminationGracePeriodSeconds = ptr(int64(drainTimeout.Seconds()) + 10)
	c := &pod.Containers[0]
	c.Resources = resources(spec.Resources, "100m", "128Mi", "512Mi")
	c.StartupProbe = httpProbe("/healthz", 1, 60)
	c.LivenessProbe = httpProbe("/healthz", 10, 3)
	c.ReadinessProbe = httpProbe("/readyz", 5, 2)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: meta(in, component, component),
		Spec: appsv1.DeploymentSpec{
			Replicas: replicas(spec),
			Selector: &metav1.LabelSelector{MatchLabels: selector},
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: ptr(intstr.FromInt32(0)),
					MaxSurge:       ptr(intstr.FromString("25%")),
				},
			},
			ProgressDeadlineSeconds: ptr(int32(600)),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels: podLabels(in.Store.Name, component),
					Annotations: map[string]string{
						annotationConfigHash:  configHash,
						annotationSecretsHash: in.SecretsHash,
					},
				},
				Spec: pod,
			},
		},
	}
}

// replicas is nil when an autoscaler decides; a zero is a value.
func replicas(spec v1alpha1.WorkloadSpec) *int32 {
	if spec.Autoscaling != nil {
		return nil
	}
	return ptr(orDefault(spec.Replicas, 1))
}

func apiAutoscaler(in Input) *autoscalingv2.HorizontalPodAutoscaler {
	return autoscaler(in, ComponentAPI, in.Store.Spec.API.Autoscaling)
}

func workerAutoscaler(in Input) *autoscalingv2.HorizontalPodAutoscaler {
	return autoscaler(in, ComponentWorker, in.Store.Spec.Worker.Autoscaling)
}

func autoscaler(in Input, component string, a *v1alpha1.AutoscalingSpec) *autoscalingv2.HorizontalPodAutoscaler {
	if a == nil {
		return nil
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: meta(in, component, component),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: Name(in.Store.Name, component)},
			MinReplicas:    ptr(orDefault(a.MinReplicas, 1)),
			MaxReplicas:    a.MaxReplicas,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name: corev1.ResourceCPU,
					Target: autoscalingv2.MetricTarget{
						Type:               autoscalingv2.UtilizationMetricType,
						AverageUtilization: ptr(orDefault(a.TargetCPUUtilizationPercentage, 70)),
					},
				},
			}},
		},
	}
}

func apiDisruptionBudget(in Input) *policyv1.PodDisruptionBudget {
	return disruptionBudget(in, ComponentAPI, in.Store.Spec.API.WorkloadSpec)
}

func workerDisruptionBudget(in Input) *policyv1.PodDisruptionBudget {
	return disruptionBudget(in, ComponentWorker, in.Store.Spec.Worker.WorkloadSpec)
}

// disruptionBudget exists above one replica only: with one, it would keep a
// node from ever being drained.
func disruptionBudget(in Input, component string, spec v1alpha1.WorkloadSpec) *policyv1.PodDisruptionBudget {
	if MinReplicas(spec) < 2 {
		return nil
	}
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: meta(in, component, component),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: ptr(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: Selector(in.Store.Name, component)},
		},
	}
}

// MinReplicas is the least number of pods that a workload has when all is well.
func MinReplicas(spec v1alpha1.WorkloadSpec) int32 {
	if spec.Autoscaling != nil {
		return orDefault(spec.Autoscaling.MinReplicas, 1)
	}
	return orDefault(spec.Replicas, 1)
}

// migrationJob is named by what it depends on, so that each image migrates
// once, and again when the database or the reconcile annotation changes.
func migrationJob(in Input) *batchv1.Job {
	id := Hash(in.Images.Runtime, in.DatabaseHash, in.Store.Annotations[AnnotationReconcile])[:10]
	pod := runtimePod(in, ComponentMigrate, in.Images.Runtime, []string{"migrate", "--wait", "2m", "--report", "/dev/termination-log"})
	pod.RestartPolicy = corev1.RestartPolicyNever
	pod.Containers[0].Resources = resources(nil, "100m", "128Mi", "512Mi")
	if s := in.Store.Spec.API.Scheduling; s != nil {
		pod = place(pod, &s.PlacementSpec)
		pod.Affinity = s.Affinity
	}
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: meta(in, ComponentMigrate, "migrate-"+id),
		Spec: batchv1.JobSpec{
			BackoffLimit:          ptr(int32(2)),
			ActiveDeadlineSeconds: ptr(int64(3600)),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: podLabels(in.Store.Name, ComponentMigrate)},
				Spec:       pod,
			},
		},
	}
}
