package plan

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

const (
	// serverUser is the user and group of the official postgres and redis images on Debian.
	serverUser = 999

	postgresUser     = "gocart"
	postgresDatabase = "gocart"
	postgresPort     = 5432
	redisPort        = 6379
	redisAuthKey     = "auth.conf"
)

func postgresService(in Input) *corev1.Service {
	if in.Store.Spec.Database.Managed == nil {
		return nil
	}
	return serverService(in, ComponentPostgres, postgresPort)
}

func redisService(in Input) *corev1.Service {
	if in.Store.Spec.Redis.Managed == nil {
		return nil
	}
	return serverService(in, ComponentRedis, redisPort)
}

func serverService(in Input, component string, port int32) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(in, component, component),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: Selector(in.Store.Name, component),
			Ports:    []corev1.ServicePort{{Name: component, Port: port, TargetPort: intstr.FromString(component), Protocol: corev1.ProtocolTCP}},
		},
	}
}

// postgresStatefulSet runs an image that keeps the official image's contract:
// its environment, its user, a data folder below the volume's root.
func postgresStatefulSet(in Input) *appsv1.StatefulSet {
	spec := in.Store.Spec.Database.Managed
	if spec == nil {
		return nil
	}
	ready := []string{"pg_isready", "--quiet", "--host", "127.0.0.1", "--username", postgresUser, "--dbname", postgresDatabase}
	return serverStatefulSet(in, ComponentPostgres, spec.ManagedServerSpec, "10Gi", corev1.PodSpec{
		// Time for PostgreSQL to write a checkpoint.
		TerminationGracePeriodSeconds: ptr(int64(120)),
		Containers: []corev1.Container{{
			Image: in.Images.Postgres,
			Env: []corev1.EnvVar{
				{Name: "POSTGRES_USER", Value: postgresUser},
				{Name: "POSTGRES_DB", Value: postgresDatabase},
				{Name: "POSTGRES_PASSWORD_FILE", Value: "/etc/postgres-credentials/password"},
				{Name: "PGDATA", Value: "/var/lib/postgresql/data/pgdata"},
			},
			Ports:          []corev1.ContainerPort{{Name: ComponentPostgres, ContainerPort: postgresPort}},
			Resources:      resources(spec.Resources, "100m", "256Mi", "1Gi"),
			StartupProbe:   execProbe(2, 150, ready...),
			LivenessProbe:  connectProbe(postgresPort),
			ReadinessProbe: execProbe(10, 3, ready...),
			VolumeMounts: []corev1.VolumeMount{
				{Name: "data", MountPath: "/var/lib/postgresql/data"},
				{Name: "credentials", MountPath: "/etc/postgres-credentials", ReadOnly: true},
				{Name: "run", MountPath: "/var/run/postgresql"},
				{Name: "tmp", MountPath: "/tmp"},
				{Name: "shm", MountPath: "/dev/shm"},
			},
		}},
		Volumes: []corev1.Volume{
			secretVolume("credentials", PostgresSecret(in.Store.Name), corev1.KeyToPath{Key: "password", Path: "password"}),
			emptyDir("run", corev1.StorageMediumDefault, "16Mi"),
			emptyDir("tmp", corev1.StorageMediumDefault, "256Mi"),
			emptyDir("shm", corev1.StorageMediumMemory, "256Mi"),
		},
	})
}

func redisStatefulSet(in Input) *appsv1.StatefulSet {
	spec := in.Store.Spec.Redis.Managed
	if spec == nil {
		return nil
	}
	res := resources(spec.Resources, "50m", "64Mi", "256Mi")
	// -e: an error answer, such as LOADING, is a failure.
	ping := []string{"redis-cli", "-e", "ping"}
	set := serverStatefulSet(in, ComponentRedis, spec.ManagedServerSpec, "1Gi", corev1.PodSpec{
		TerminationGracePeriodSeconds: ptr(int64(30)),
		Containers: []corev1.Container{{
			Image: in.Images.Redis,
			Args: []string{
				"/etc/redis-credentials/" + redisAuthKey,
				"--dir", "/data",
				"--appendonly", "yes",
				"--maxmemory", strconv.FormatInt(redisMemory(res), 10),
				"--maxmemory-policy", "allkeys-lru",
			},
			Env: []corev1.EnvVar{{Name: "REDISCLI_AUTH", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: RedisSecret(in.Store.Name)}, Key: "password",
			}}}},
			Ports:          []corev1.ContainerPort{{Name: ComponentRedis, ContainerPort: redisPort}},
			Resources:      res,
			StartupProbe:   execProbe(2, 60, ping...),
			LivenessProbe:  connectProbe(redisPort),
			ReadinessProbe: execProbe(10, 3, ping...),
			VolumeMounts: []corev1.VolumeMount{
				{Name: "data", MountPath: "/data"},
				{Name: "credentials", MountPath: "/etc/redis-credentials", ReadOnly: true},
			},
		}},
		Volumes: []corev1.Volume{
			secretVolume("credentials", RedisSecret(in.Store.Name), corev1.KeyToPath{Key: redisAuthKey, Path: redisAuthKey}),
		},
	})
	// Redis reads its password as it starts; what it holds may be lost, so a
	// lost password is replaced.
	set.Spec.Template.Annotations = map[string]string{annotationSecretsHash: in.RedisHash}
	return set
}

// redisMemory leaves a quarter of the container's memory for buffers and for
// the copy that a rewrite of the append-only file makes.
func redisMemory(r corev1.ResourceRequirements) int64 {
	limit, ok := r.Limits[corev1.ResourceMemory]
	if !ok {
		limit = resource.MustParse("256Mi")
	}
	return limit.Value() / 4 * 3
}

func serverStatefulSet(in Input, component string, spec v1alpha1.ManagedServerSpec, size string, pod corev1.PodSpec) *appsv1.StatefulSet {
	pod.AutomountServiceAccountToken = ptr(false)
	pod.EnableServiceLinks = ptr(false)
	pod.SecurityContext = podSecurity(serverUser)
	pod = place(pod, spec.Scheduling)
	c := &pod.Containers[0]
	c.Name = component
	c.ImagePullPolicy = corev1.PullIfNotPresent
	c.SecurityContext = containerSecurity()
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	return &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: meta(in, component, component),
		Spec: appsv1.StatefulSetSpec{
			Replicas:    ptr(int32(1)),
			ServiceName: Name(in.Store.Name, component),
			Selector:    &metav1.LabelSelector{MatchLabels: Selector(in.Store.Name, component)},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: podLabels(in.Store.Name, component)},
				Spec:       pod,
			},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				// Without its kind, which the API server knows and does not always tell.
				ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: Labels(in.Store.Name, component)},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					StorageClassName: spec.Storage.ClassName,
					Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
						corev1.ResourceStorage: orDefault(spec.Storage.Size, quantity(size)),
					}},
				},
			}},
		},
	}
}
