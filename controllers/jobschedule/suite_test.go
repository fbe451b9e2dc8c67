package jobschedule_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/apply"
	"gitee.com/captainjez/gocart/controllers/internal/controllertest"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/jobschedule"
	"gitee.com/captainjez/gocart/internal/testenv"
	"gitee.com/captainjez/gocart/runtime/status"
)

var cluster testenv.Cluster

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(cluster.Run(m))
}

// pods answer what became of schedules' jobs; nothing known has them silent.
type pods struct {
	mu    sync.Mutex
	known map[string]status.Schedule
	asked atomic.Int64
}

func (p *pods) Schedule(_ context.Context, _, name string) (status.Schedule, error) {
	p.asked.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		return status.Schedule{}, errors.New("connection refused")
	}
	return p.known[name], nil
}

func (p *pods) tell(name string, s status.Schedule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[string]status.Schedule{}
	}
	p.known[name] = s
}

// world is a test's namespace. There is no CronJob controller in it: the test
// makes the Jobs and ends their pods.
type world struct {
	*controllertest.World
	t     *testing.T
	pods  *pods
	shard string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: controllertest.New(t, &cluster), t: t, pods: &pods{}}
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	w.Start(w.shard, func(mgr ctrl.Manager) error {
		recorder := mgr.GetEventRecorder("gocart-operator")
		r := &jobschedule.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Applier: apply.New(mgr.GetClient(), mgr.GetAPIReader(), recorder),
			Events: recorder, Prober: w.pods, RuntimeRepository: "gocart-runtime", Now: w.Clock.Now,
		}
		return r.SetupWithManager(mgr, 2)
	})
}

// serves makes a Store whose pods serve an image to which it is migrated.
func (w *world) serves(name string) {
	w.t.Helper()
	s := w.Store(name)
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: plan.Labels(name, plan.ComponentAPI)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "api", Image: "gocart-runtime:1"}}},
	}
	w.Create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: plan.Name(name, plan.ComponentAPI), Labels: plan.Labels(name, plan.ComponentAPI)},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: plan.Selector(name, plan.ComponentAPI)}, Template: pod},
	})
	w.migrated(s, metav1.ConditionTrue, "gocart-runtime:1")
	w.Pod(name, plan.ComponentAPI, 0, "10.0.0.1")
}

// migrated sets what a Store's status says of its image.
func (w *world) migrated(s *v1alpha1.Store, is metav1.ConditionStatus, image string) {
	w.t.Helper()
	before := s.DeepCopy()
	s.Status.Image = &v1alpha1.ImageStatus{Current: "gocart-runtime:1", Migrated: image}
	s.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.MigrationSucceededCondition, Status: is, Reason: "Because", LastTransitionTime: metav1.Now(), ObservedGeneration: s.Generation,
	}}
	if err := w.Client.Status().Patch(w.t.Context(), s, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) changeStore(name string, edit func(*v1alpha1.Store)) *v1alpha1.Store {
	w.t.Helper()
	s := &v1alpha1.Store{}
	w.Get(name, s)
	before := s.DeepCopy()
	edit(s)
	if err := w.Client.Patch(w.t.Context(), s, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) schedule(name, spec string) *v1alpha1.JobSchedule {
	w.t.Helper()
	s := &v1alpha1.JobSchedule{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &s.Spec); err != nil {
		w.t.Fatal(err)
	}
	if s.Spec.StoreRef.Name == "" {
		s.Spec.StoreRef.Name = "shop"
	}
	if s.Spec.Job.Kind == "" {
		s.Spec.Job.Kind = "retention"
	}
	w.Create(s)
	return s
}

func (w *world) read(name string) *v1alpha1.JobSchedule {
	w.t.Helper()
	s := &v1alpha1.JobSchedule{}
	w.Get(name, s)
	return s
}

func (w *world) change(name string, edit func(*v1alpha1.JobSchedule)) {
	w.t.Helper()
	s := w.read(name)
	before := s.DeepCopy()
	edit(s)
	if err := w.Client.Patch(w.t.Context(), s, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a condition of the schedule as it is now.
func (w *world) until(name, condition string, want metav1.ConditionStatus, reason string, words ...string) *v1alpha1.JobSchedule {
	w.t.Helper()
	var s *v1alpha1.JobSchedule
	w.Eventually(fmt.Sprintf("%s of %s to become %s %s", condition, name, want, reason), func() error {
		s = w.read(name)
		return controllertest.Condition(s, s.Status.Conditions, condition, want, reason, words...)
	})
	return s
}

// cronJob waits for a schedule's CronJob to be as the check wants it.
func (w *world) cronJob(name string, check func(*batchv1.CronJob) error) *batchv1.CronJob {
	w.t.Helper()
	c := &batchv1.CronJob{}
	w.Eventually("the CronJob of "+name, func() error {
		if err := w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: plan.CronJobName("shop", name)}, c); err != nil {
			return err
		}
		return check(c)
	})
	return c
}

func suspended(want bool) func(*batchv1.CronJob) error {
	return func(c *batchv1.CronJob) error {
		if *c.Spec.Suspend != want {
			return fmt.Errorf("suspend is %t", *c.Spec.Suspend)
		}
		return nil
	}
}

func (w *world) untilGone(name string) {
	w.t.Helper()
	w.Eventually("the CronJob of "+name+" to be gone", func() error {
		err := w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: plan.CronJobName("shop", name)}, &batchv1.CronJob{})
		if err == nil {
			return errors.New("it is there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// fire makes a Job as the CronJob controller does, with a pod, and says so in
// the CronJob's status.
func (w *world) fire(schedule, job string) (*batchv1.Job, *corev1.Pod) {
	w.t.Helper()
	c := w.cronJob(schedule, func(*batchv1.CronJob) error { return nil })
	template := c.Spec.JobTemplate
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: job, Labels: template.Labels, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, batchv1.SchemeGroupVersion.WithKind("CronJob"))}},
		Spec:       template.Spec,
	}
	w.Create(j)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: job + "-0", Labels: map[string]string{batchv1.JobNameLabel: job}}, Spec: template.Spec.Template.Spec}
	for k, v := range template.Spec.Template.Labels {
		p.Labels[k] = v
	}
	w.Create(p)
	before := c.DeepCopy()
	c.Status.LastScheduleTime = &metav1.Time{Time: time.Now().Truncate(time.Second)}
	if err := w.Client.Status().Patch(w.t.Context(), c, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
	return j, p
}

// ends has a pod end with a report.
func (w *world) ends(p *corev1.Pod, report status.Enqueued) {
	w.t.Helper()
	words, err := json.Marshal(report)
	if err != nil {
		w.t.Fatal(err)
	}
	code := int32(0)
	if report.Error != "" {
		code = 1
	}
	w.container(p, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: string(words) + "\n", FinishedAt: metav1.Now()}})
}

func (w *world) container(p *corev1.Pod, state corev1.ContainerState) {
	w.t.Helper()
	before := p.DeepCopy()
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: plan.ComponentJob, Image: "gocart-runtime:1", State: state}}
	if err := w.Client.Status().Patch(w.t.Context(), p, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

// fails has a Job fail for good.
func (w *world) fails(j *batchv1.Job, why string) {
	w.t.Helper()
	before := j.DeepCopy()
	now := metav1.Now()
	j.Status.StartTime, j.Status.Failed = &now, 1
	for _, t := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: t, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded", Message: why, LastTransitionTime: now})
	}
	if err := w.Client.Status().Patch(w.t.Context(), j, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}
