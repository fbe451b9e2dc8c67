package plan

import (
	"strconv"

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
	return deployment(in, ComponentAPI, configHash, in.Store.Spec.API.WorkloadSpec, apiReplicas(in.Store), pod)
}

func workerDeployment(in Input, configHash string) *appsv1.Deployment {
	pod := withSecrets(in, runtimePod(in, ComponentWorker, in.Images.Serving, []string{"worker"}))
	pod.Containers[0].Ports = []corev1.ContainerPort{{Name: "internal", ContainerPort: InternalPort}}
	d := deployment(in, ComponentWorker, configHash, in.Store.Spec.Worker.WorkloadSpec, workerReplicas(in.Store), pod)
	d.Spec.Template = withReports(in, d.Spec.Template)
	return d
}

func deployment(in Input, component, configHash string, spec v1alpha1.WorkloadSpec, replicas *int32, pod corev1.PodSpec) *appsv1.Deployment {
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
			Replicas: replicas,
			Selector: &metav1.LabelSelector{MatchLabels: selector},
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: ptr(intstr.FromInt32(0)),
					MaxSurge:       ptr(intstr.FromString(strconv.Itoa(surge) + "%")),
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

// apiReplicas is nil when an autoscaler decides; a zero is a value.
func apiReplicas(s *v1alpha1.Store) *int32 {
	if s.Spec.API.Autoscaling != nil {
		return nil
	}
	return ptr(MinAPI(s))
}

func workerReplicas(s *v1alpha1.Store) *int32 {
	if s.Spec.Worker.Autoscaling != nil {
		return nil
	}
	return ptr(MinWorkers(s))
}

// MinAPI is the least number of pods that the API has when all is well.
func MinAPI(s *v1alpha1.Store) int32 {
	if a := s.Spec.API.Autoscaling; a != nil {
		return orDefault(a.MinReplicas, 1)
	}
	return orDefault(s.Spec.API.Replicas, 1)
}

// MinWorkers is the least number of worker pods when all is well.
func MinWorkers(s *v1alpha1.Store) int32 {
	if a := s.Spec.Worker.Autoscaling; a != nil {
		return orDefault(a.MinReplicas, 1)
	}
	return orDefault(s.Spec.Worker.Replicas, 1)
}

func apiAutoscaler(in Input) *autoscalingv2.HorizontalPodAutoscaler {
	a := in.Store.Spec.API.Autoscaling
	if a == nil {
		return nil
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: meta(in, ComponentAPI, ComponentAPI),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: Name(in.Store.Name, ComponentAPI)},
			MinReplicas:    ptr(MinAPI(in.Store)),
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
	return disruptionBudget(in, ComponentAPI, MinAPI(in.Store))
}

func workerDisruptionBudget(in Input) *policyv1.PodDisruptionBudget {
	return disruptionBudget(in, ComponentWorker, MinWorkers(in.Store))
}

// disruptionBudget exists above one replica only: with one, it would keep a
// node from ever being drained.
func disruptionBudget(in Input, component string, least int32) *policyv1.PodDisruptionBudget {
	if least < 2 {
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
