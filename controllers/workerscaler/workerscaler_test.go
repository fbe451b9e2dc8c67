package workerscaler_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/controllertest"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/workerscaler"
	"gitee.com/captainjez/gocart/internal/testenv"
	"gitee.com/captainjez/gocart/runtime/status"
)

var cluster testenv.Cluster

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(cluster.Run(m))
}

// queue answers for the pods of all Stores; nil has them silent.
type queue struct {
	mu    sync.Mutex
	is    *status.Queue
	asked map[string]int // by address
}

func (q *queue) Jobs(_ context.Context, ip string) (status.Jobs, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked[ip]++
	if q.is == nil {
		return status.Jobs{}, errors.New("connection refused")
	}
	return status.Jobs{Queues: []status.Queue{*q.is}}, nil
}

func (q *queue) set(waiting, running int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.is = &status.Queue{Name: "high", Waiting: waiting, Running: running}
}

// times that the pods at an address were asked.
func (q *queue) times(ip string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asked[ip]
}

type world struct {
	*controllertest.World
	t     *testing.T
	queue *queue
}

// address of a Store's only api pod.
const address, paceAddress = "10.0.0.1", "10.0.0.2"

// newWorld has a Store "shop" and its scaler.
func newWorld(t *testing.T, spec string, replicas int32) *world {
	t.Helper()
	w := &world{World: controllertest.New(t, &cluster), t: t, queue: &queue{asked: map[string]int{}}}
	w.store("shop", spec, replicas, address)
	w.start()
	return w
}

// store has a worker Deployment of some pods that nobody runs, and one api pod to ask.
func (w *world) store(name, spec string, replicas int32, ip string) {
	w.t.Helper()
	s := &v1alpha1.Store{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := yaml.UnmarshalStrict([]byte("domains: [shop.example.com]\ntls: {disabled: true}\n"+spec), &s.Spec); err != nil {
		w.t.Fatal(err)
	}
	w.Create(s)
	w.observed(name)
	labels := plan.Labels(name, plan.ComponentWorker)
	w.Create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: plan.Name(name, plan.ComponentWorker), Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: plan.Selector(name, plan.ComponentWorker)},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "gocart-runtime:1"}}},
			},
		},
	})
	w.Pod(name, plan.ComponentAPI, 0, ip)
}

func (w *world) start() {
	w.t.Helper()
	w.Start("", func(mgr ctrl.Manager) error {
		r := &workerscaler.Reconciler{Client: mgr.GetClient(), Events: mgr.GetEventRecorder("gocart-operator"), Prober: w.queue, Now: w.Clock.Now}
		return r.SetupWithManager(mgr, 2)
	})
}

// observed has the Store controller, which is not here, have seen the spec.
func (w *world) observed(name string) {
	w.t.Helper()
	s := &v1alpha1.Store{}
	w.Get(name, s)
	before := s.DeepCopy()
	s.Status.ObservedGeneration = s.Generation
	if err := w.Client.Status().Patch(w.t.Context(), s, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) change(edit func(*v1alpha1.Store)) {
	w.t.Helper()
	s := &v1alpha1.Store{}
	w.Get("shop", s)
	before := s.DeepCopy()
	edit(s)
	if err := w.Client.Patch(w.t.Context(), s, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deployment() *appsv1.Deployment {
	w.t.Helper()
	d := &appsv1.Deployment{}
	w.Get("shop-worker", d)
	return d
}

func (w *world) until(replicas int32) {
	w.t.Helper()
	w.Eventually(fmt.Sprintf("%d worker pods", replicas), func() error {
		if n := *w.deployment().Spec.Replicas; n != replicas {
			return fmt.Errorf("there are to be %d", n)
		}
		return nil
	})
}

// looks waits until the queues were looked at so many times more, and checks
// that there are to be as many pods as before.
func (w *world) looks(times int) {
	w.t.Helper()
	replicas := *w.deployment().Spec.Replicas
	w.untilAsked(address, times)
	if n := *w.deployment().Spec.Replicas; n != replicas {
		w.t.Errorf("there are to be %d pods, and before there were to be %d", n, replicas)
	}
}

func (w *world) untilAsked(ip string, times int) {
	w.t.Helper()
	before := w.queue.times(ip)
	w.Eventually("the queues to be looked at", func() error {
		if n := w.queue.times(ip) - before; n < times {
			return fmt.Errorf("they were %d times", n)
		}
		return nil
	})
}

func TestWorkersFollowTheQueuesFromZeroAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `worker: {autoscaling: {minReplicas: 0, maxReplicas: 5, targetWaitingPerReplica: 10, scaleDownAfter: 1m}}`, 0)
	w.queue.set(0, 0)
	w.looks(1)
	begun := time.Now()
	w.queue.set(50, 0)
	w.until(5)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	w.UntilEvent(corev1.EventTypeNormal, "WorkersScaled", "from 0 to 4 worker pods", "50 jobs wait")
	var owners []string
	for _, f := range w.deployment().ManagedFields {
		if f.Subresource == "scale" {
			owners = append(owners, f.Manager)
		}
	}
	if len(owners) != 1 || owners[0] != "gocart-operator-workerscaler" {
		t.Errorf("spec.replicas belong to %q", owners)
	}
	w.queue.set(0, 3)
	w.looks(2)
	w.Clock.Forward(2 * time.Minute)
	w.until(1)
	w.looks(1)
	w.queue.set(0, 0)
	w.until(1)
	w.Clock.Forward(4 * time.Minute)
	w.until(0)
}

func TestARestartedScalerTakesNothingAwayAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `worker: {autoscaling: {maxReplicas: 5, scaleDownAfter: 1m}}`, 3)
	w.queue.set(0, 0)
	w.looks(2)
	w.Stop()
	w.start()
	w.looks(2)
	w.Clock.Forward(2 * time.Minute)
	w.until(1)
}

func TestWhileNobodyTellsOfTheQueuesTheWorkersStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `worker: {autoscaling: {minReplicas: 0, maxReplicas: 5, scaleDownAfter: 0s}}`, 2)
	w.looks(2)
	w.queue.set(0, 0)
	w.until(0)
}

func TestAStoreWithoutAPIPodsKeepsAWorkerToAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api: {replicas: 0}\nworker: {autoscaling: {minReplicas: 0, maxReplicas: 5, scaleDownAfter: 0s}}", 2)
	w.queue.set(0, 0)
	w.until(1)
	w.looks(2)
}

func TestAnotherAutoscalerIsNotFought(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `worker: {autoscaling: {maxReplicas: 5, scaleDownAfter: 0s, targetWaitingPerReplica: 1}}`, 1)
	w.queue.set(0, 0)
	w.looks(1)
	other := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "somebodys"}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop-worker"}, MaxReplicas: 3,
	}}
	// Another Store is looked at as often, which tells how long this one was not.
	w.store("pace", `worker: {autoscaling: {maxReplicas: 1}}`, 1, paceAddress)
	w.Create(other)
	w.untilAsked(paceAddress, 2)
	before := w.queue.times(address)
	w.queue.set(5, 0)
	w.untilAsked(paceAddress, 3)
	if n := w.queue.times(address) - before; n > 0 || *w.deployment().Spec.Replicas != 1 {
		t.Errorf("the queues were looked at %d times, and there are to be %d pods", n, *w.deployment().Spec.Replicas)
	}
	if err := w.Client.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	w.until(5)
}

func TestAPausedStoreAndOneNotYetReconciledAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `worker: {autoscaling: {maxReplicas: 5, targetWaitingPerReplica: 1}}`, 1)
	w.queue.set(0, 0)
	w.looks(1)
	w.change(func(s *v1alpha1.Store) { s.Spec.Paused = true })
	w.observed("shop")
	w.queue.set(9, 0)
	w.change(func(s *v1alpha1.Store) { s.Spec.Paused = false })
	if n := *w.deployment().Spec.Replicas; n != 1 {
		t.Errorf("there are to be %d pods", n)
	}
	w.observed("shop")
	w.until(5)
}

func TestTheEventSaysWhatWaits(t *testing.T) {
	t.Parallel()
	h := &workerscaler.History{}
	_, why := h.Decide(usual, []status.Queue{{Name: "low", Waiting: 3, OldestSeconds: 75}}, 1, time.Unix(1000, 0))
	if !strings.Contains(why, "3 jobs wait, the oldest for 1m15s") {
		t.Errorf("it says %q", why)
	}
}
