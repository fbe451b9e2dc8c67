package plan

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// runtimeUser is the user of the runtime's image.
const runtimeUser = 65532

func listenAddress(port int) string { return ":" + strconv.Itoa(port) }

// podSecurity passes Pod Security's restricted profile.
func podSecurity(user int64) *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot:        ptr(true),
		RunAsUser:           ptr(user),
		RunAsGroup:          ptr(user),
		FSGroup:             ptr(user),
		FSGroupChangePolicy: ptr(corev1.FSGroupChangeOnRootMismatch),
		SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func containerSecurity() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false),
		ReadOnlyRootFilesystem:   ptr(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func quantity(s string) resource.Quantity { return resource.MustParse(s) }

func resources(r *corev1.ResourceRequirements, cpu, memory, memoryLimit string) corev1.ResourceRequirements {
	if r != nil {
		return *r
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: quantity(cpu), corev1.ResourceMemory: quantity(memory)},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: quantity(memoryLimit)},
	}
}

// runtimePod is a pod of the runtime's image that runs one subcommand.
func runtimePod(in Input, component, image string, args []string) corev1.PodSpec {
	uri, databaseCA := databaseSecrets(in)
	pod := corev1.PodSpec{
		AutomountServiceAccountToken: ptr(false),
		EnableServiceLinks:           ptr(false),
		SecurityContext:              podSecurity(runtimeUser),
		Containers: []corev1.Container{{
			Name:                     component,
			Image:                    image,
			ImagePullPolicy:          pullPolicy(in),
			Args:                     append(args, "--config", configFile),
			SecurityContext:          containerSecurity(),
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			VolumeMounts: []corev1.VolumeMount{
				{Name: "config", MountPath: configDir, ReadOnly: true},
				{Name: "database", MountPath: databaseDir, ReadOnly: true},
			},
		}},
		Volumes: []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: Name(in.Store.Name, "config")},
			}}},
			projectedKeys("database", uri, uriKey, databaseCA),
		},
	}
	if in.Store.Spec.Image != nil {
		for _, s := range in.Store.Spec.Image.PullSecrets {
			pod.ImagePullSecrets = append(pod.ImagePullSecrets, corev1.LocalObjectReference{Name: s.Name})
		}
	}
	return pod
}

// withSecrets mounts what pods of the store's work hold and a migration does not.
func withSecrets(in Input, pod corev1.PodSpec) corev1.PodSpec {
	url, redisCA := redisSecrets(in)
	c := &pod.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: "redis", MountPath: redisDir, ReadOnly: true},
		corev1.VolumeMount{Name: "auth", MountPath: authDir, ReadOnly: true},
	)
	pod.Volumes = append(pod.Volumes,
		projectedKeys("redis", url, urlKey, redisCA),
		secretVolume("auth", CredentialsSecret(in.Store.Name)),
	)
	if m := in.Store.Spec.Mail; m != nil {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "mail", MountPath: mailDir, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, projectedKeys("mail", m.URLSecretRef, urlKey, nil))
	}
	if s := stripeOf(in.Store); s != nil {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "stripe", MountPath: stripeDir, ReadOnly: true})
		sources := []corev1.VolumeProjection{projectedKey(s.APIKeySecretRef, apiKeyKey)}
		for i, k := range s.WebhookSecretRefs {
			sources = append(sources, projectedKey(k, webhookSecretKey(i)))
		}
		pod.Volumes = append(pod.Volumes, projected("stripe", sources))
	}
	return pod
}

// projectedKeys puts a key of one Secret, and perhaps a CA of another, into one folder.
func projectedKeys(volume string, key v1alpha1.SecretKey, path string, ca *v1alpha1.SecretKey) corev1.Volume {
	sources := []corev1.VolumeProjection{projectedKey(key, path)}
	if ca != nil {
		sources = append(sources, projectedKey(*ca, caKey))
	}
	return projected(volume, sources)
}

// projectedKey puts a key of a Secret into a file.
func projectedKey(k v1alpha1.SecretKey, path string) corev1.VolumeProjection {
	return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: k.Name},
		Items:                []corev1.KeyToPath{{Key: k.Key, Path: path}},
	}}
}

func projected(volume string, sources []corev1.VolumeProjection) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: sources, DefaultMode: ptr(int32(0o440)),
	}}}
}

func pullPolicy(in Input) corev1.PullPolicy {
	if in.Store.Spec.Image != nil && in.Store.Spec.Image.PullPolicy != "" {
		return in.Store.Spec.Image.PullPolicy
	}
	return corev1.PullIfNotPresent
}

func httpProbe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("internal")}},
		PeriodSeconds:    period,
		FailureThreshold: failures,
		TimeoutSeconds:   5,
	}
}

func execProbe(period, failures int32, command ...string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}},
		PeriodSeconds:    period,
		FailureThreshold: failures,
		TimeoutSeconds:   5,
	}
}

// connectProbe restarts a server that takes no connections for two minutes. It
// runs no program, as an exec probe does, so that a small node can hold many.
func connectProbe(port int) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(port))}},
		PeriodSeconds:    20,
		FailureThreshold: 6,
		TimeoutSeconds:   5,
	}
}

// place puts a pod where the spec says.
func place(pod corev1.PodSpec, p *v1alpha1.PlacementSpec) corev1.PodSpec {
	if p != nil {
		pod.NodeSelector = p.NodeSelector
		pod.Tolerations = p.Tolerations
		pod.PriorityClassName = p.PriorityClassName
	}
	return pod
}

// schedule is place for the pods of a Deployment, spread where the spec says
// nothing else.
func schedule(pod corev1.PodSpec, s *v1alpha1.SchedulingSpec, selector map[string]string) corev1.PodSpec {
	pod.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{
		spread("kubernetes.io/hostname", selector),
		spread("topology.kubernetes.io/zone", selector),
	}
	if s == nil {
		return pod
	}
	pod = place(pod, &s.PlacementSpec)
	pod.Affinity = s.Affinity
	if s.TopologySpreadConstraints != nil {
		pod.TopologySpreadConstraints = nil
		for _, c := range s.TopologySpreadConstraints {
			if c.LabelSelector == nil {
				c.LabelSelector = &metav1.LabelSelector{MatchLabels: selector}
			}
			pod.TopologySpreadConstraints = append(pod.TopologySpreadConstraints, c)
		}
	}
	return pod
}

// spread prefers pods of one revision to be far apart.
func spread(key string, selector map[string]string) corev1.TopologySpreadConstraint {
	return corev1.TopologySpreadConstraint{
		MaxSkew:           1,
		TopologyKey:       key,
		WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector:     &metav1.LabelSelector{MatchLabels: selector},
		MatchLabelKeys:    []string{"pod-template-hash"},
	}
}
