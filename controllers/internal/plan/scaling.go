package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/keda"
)

// kedaPods are KEDA's own, by the labels of its manifests and its chart, in the
// namespace that both name: anybody can put the label on a pod of another.
var (
	kedaPods      = map[string]string{LabelName: "keda-operator"}
	kedaNamespace = map[string]string{corev1.LabelMetadataName: "keda"}
)

// byKEDA is the workers' autoscaling where KEDA does it; nil otherwise.
func byKEDA(in Input) *v1alpha1.WorkerAutoscalingSpec {
	if a := in.Store.Spec.Worker.Autoscaling; a != nil && a.Provider == v1alpha1.ScalingKEDA {
		return a
	}
	return nil
}

// triggerAuthentication lets KEDA read the database as the store's pods do.
func triggerAuthentication(in Input) *keda.TriggerAuthentication {
	if byKEDA(in) == nil {
		return nil
	}
	uri, _ := databaseSecrets(in)
	return &keda.TriggerAuthentication{
		TypeMeta:   metav1.TypeMeta{APIVersion: keda.GroupVersion.String(), Kind: "TriggerAuthentication"},
		ObjectMeta: meta(in, ComponentWorker, ComponentWorker),
		Spec:       keda.TriggerAuthenticationSpec{SecretTargetRef: []keda.SecretTarget{{Parameter: "connection", Name: uri.Name, Key: uri.Key}}},
	}
}

// scaledObject asks of KEDA what package workerscaler does natively: a pod for so
// many jobs that wait, pods for what runs, and one more each time that the
// oldest job has waited for maxAge again. The most of the three holds.
func scaledObject(in Input) *keda.ScaledObject {
	a := byKEDA(in)
	if a == nil {
		return nil
	}
	name := Name(in.Store.Name, ComponentWorker)
	window := int32(a.ScaleDownAfter.Seconds())
	worker := Worker(in.Store)
	// The names of queues are words of ours.
	queues := "queue IN ('" + strings.Join(worker.Queues, "', '") + "')"
	trigger := func(name, query string, target int64) keda.Trigger {
		return keda.Trigger{Type: "postgresql", Name: name, AuthenticationRef: &keda.Authentication{Name: Name(in.Store.Name, ComponentWorker)},
			Metadata: map[string]string{"query": query, "targetQueryValue": strconv.FormatInt(target, 10)}}
	}
	due := fmt.Sprintf("FROM river_job WHERE state IN ('available', 'retryable', 'scheduled') AND scheduled_at <= now() AND %s", queues)
	return &keda.ScaledObject{
		TypeMeta:   metav1.TypeMeta{APIVersion: keda.GroupVersion.String(), Kind: "ScaledObject"},
		ObjectMeta: meta(in, ComponentWorker, ComponentWorker),
		Spec: keda.ScaledObjectSpec{
			ScaleTargetRef:  keda.ScaleTarget{Name: name},
			PollingInterval: ptr(int32(5)),
			CooldownPeriod:  ptr(window),
			MinReplicaCount: ptr(MinWorkers(in.Store)),
			MaxReplicaCount: ptr(a.MaxReplicas),
			Advanced: &keda.AdvancedConfig{HorizontalPodAutoscalerConfig: &keda.AutoscalerConfig{Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{
				ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: ptr(window)},
			}}},
			Triggers: []keda.Trigger{
				trigger("waiting", "SELECT count(*) "+due, int64(*a.TargetWaitingPerReplica)),
				trigger("running", fmt.Sprintf("SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM river_job WHERE state = 'running' AND %s GROUP BY queue) AS q", queues),
					int64(worker.Workers)*int64(worker.Concurrency)),
				trigger("age", "SELECT coalesce(extract(epoch FROM now() - min(scheduled_at)), 0)::bigint "+due, max(1, int64(a.MaxAge.Duration/time.Second))),
			},
		},
	}
}
