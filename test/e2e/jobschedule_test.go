//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// firedAndDone is how long a schedule of every minute may take to be told of: its
// pod has to start, and its job to be worked.
const firedAndDone = 3 * time.Minute

// newSchedule is of every minute; change says what is different.
func newSchedule(ns, name, kind string, change ...func(*v1alpha1.JobSchedule)) *v1alpha1.JobSchedule {
	s := &v1alpha1.JobSchedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.JobScheduleSpec{
			StoreRef: v1alpha1.StoreReference{Name: "shop"}, Schedule: "* * * * *", Job: v1alpha1.ScheduledJob{Kind: kind},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func payload(v any) func(*v1alpha1.JobSchedule) {
	return func(s *v1alpha1.JobSchedule) {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		s.Spec.Job.Payload = &runtime.RawExtension{Raw: raw}
	}
}

// told waits for a condition of a JobSchedule as it is now.
func told(t *testing.T, ns, name, condition string, want metav1.ConditionStatus, reason string) *v1alpha1.JobSchedule {
	t.Helper()
	s := &v1alpha1.JobSchedule{}
	eventually(t, firedAndDone, fmt.Sprintf("%s of JobSchedule %s", condition, name), func() error {
		s = read(t, ns, name, &v1alpha1.JobSchedule{})
		c := meta.FindStatusCondition(s.Status.Conditions, condition)
		if c == nil || c.ObservedGeneration != s.Generation || c.Status != want || c.Reason != reason {
			return fmt.Errorf("the status is %s", jsonOf(t, s.Status))
		}
		return nil
	})
	return s
}

// mailTo has a store mail by a server at an address.
func mailTo(t *testing.T, ns, address string) func(*v1alpha1.Store) {
	t.Helper()
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "smtp"}, StringData: map[string]string{"url": "smtp://" + address + "?tls=none"}})
	return func(s *v1alpha1.Store) {
		s.Spec.Mail = &v1alpha1.MailSpec{URLSecretRef: v1alpha1.SecretKey{Name: "smtp", Key: "url"}, From: "shop@example.com"}
	}
}

func testMessage(to string) map[string]string {
	return map[string]string{"to": to, "template": "test_message"}
}

func TestJobSchedulesSayHowTheirJobsEnded(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	// A port of the pods' own on which nobody listens: mail fails at once.
	create(t, newStore(ns, "shop", plainHTTP, mailTo(t, ns, "127.0.0.1:9")))
	create(t, newSchedule(ns, "early", "retention")) // before there is a store to work it
	ready(t, ns, "shop")

	create(t, newSchedule(ns, "enqueued", "retention"))
	create(t, newSchedule(ns, "run", "retention", func(s *v1alpha1.JobSchedule) { s.Spec.Execution = v1alpha1.ExecutionRun }))
	create(t, newSchedule(ns, "dies", "email", payload(testMessage("ada@example.com")), func(s *v1alpha1.JobSchedule) { s.Spec.Job.MaxAttempts = ptr(int32(1)) }))
	create(t, newSchedule(ns, "unknown", "telepathy"))
	create(t, newSchedule(ns, "never", "retention", func(s *v1alpha1.JobSchedule) { s.Spec.Schedule = "0 0 30 2 *" }))
	create(t, newSchedule(ns, "yearly", "retention", func(s *v1alpha1.JobSchedule) { s.Spec.Schedule = "@yearly" }))

	told(t, ns, "never", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonNeverFires)
	for _, name := range []string{"early", "enqueued", "run"} {
		s := told(t, ns, name, v1alpha1.LastRunSucceededCondition, metav1.ConditionTrue, v1alpha1.ReasonCompleted)
		if s.Status.NextScheduleTime == nil || s.Status.LastScheduleTime == nil || s.Status.LastRun.JobID == 0 || *s.Status.Suspended {
			t.Errorf("the status of %s is %s", name, jsonOf(t, s.Status))
		}
	}
	dead := told(t, ns, "dies", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonDead)
	if c := meta.FindStatusCondition(dead.Status.Conditions, v1alpha1.LastRunSucceededCondition); !strings.Contains(c.Message, "127.0.0.1:9") {
		t.Errorf("why the mail failed is not told: %s", c.Message)
	}
	if dead.Status.DeadLetters == nil || *dead.Status.DeadLetters == 0 {
		t.Errorf("the dead letters are %v", dead.Status.DeadLetters)
	}
	unknown := told(t, ns, "unknown", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonNotEnqueued)
	if c := meta.FindStatusCondition(unknown.Status.Conditions, v1alpha1.LastRunSucceededCondition); !strings.Contains(c.Message, "telepathy") {
		t.Errorf("the unknown kind is not named: %s", c.Message)
	}

	t.Run("and a run by hand", func(t *testing.T) {
		jobFrom(t, ns, "yearly", "by-hand", nil)
		told(t, ns, "yearly", v1alpha1.LastRunSucceededCondition, metav1.ConditionTrue, v1alpha1.ReasonCompleted)
	})
	t.Run("and a pause", func(t *testing.T) {
		patchStore(t, ns, "shop", func(s *v1alpha1.Store) { s.Spec.Paused = true })
		told(t, ns, "enqueued", v1alpha1.ScheduledCondition, metav1.ConditionFalse, v1alpha1.ReasonPaused)
		if c := cronJob(t, ns, "enqueued"); !*c.Spec.Suspend {
			t.Error("its CronJob is not suspended")
		}
		patchStore(t, ns, "shop", func(s *v1alpha1.Store) { s.Spec.Paused = false })
		told(t, ns, "enqueued", v1alpha1.ScheduledCondition, metav1.ConditionTrue, v1alpha1.ReasonScheduled)
	})
	t.Run("and nothing is left of one that is deleted or renamed", func(t *testing.T) {
		for _, name := range []string{"early", "enqueued", "run", "dies", "unknown", "never", "yearly"} {
			if err := cluster.Delete(t.Context(), newSchedule(ns, name, "")); err != nil {
				t.Fatal(err)
			}
		}
		create(t, newSchedule(ns, "renamed", "retention", func(s *v1alpha1.JobSchedule) { s.Spec.Schedule = "@yearly" }))
		told(t, ns, "renamed", v1alpha1.ScheduledCondition, metav1.ConditionTrue, v1alpha1.ReasonScheduled)
		eventually(t, patience, "nothing but the new one is there", func() error { return onlyOf(t, ns, "renamed") })
	})
}

func cronJob(t *testing.T, ns, schedule string) *batchv1.CronJob {
	t.Helper()
	name := ""
	eventually(t, time.Minute, "the CronJob of JobSchedule "+schedule, func() error {
		if name = read(t, ns, schedule, &v1alpha1.JobSchedule{}).Status.CronJobName; name == "" {
			return errors.New("its status names none")
		}
		return nil
	})
	return read(t, ns, name, &batchv1.CronJob{})
}

// jobFrom is kubectl create job --from=cronjob/...; edit changes its pod.
func jobFrom(t *testing.T, ns, schedule, name string, edit func(*corev1.PodSpec)) {
	t.Helper()
	c := cronJob(t, ns, schedule)
	template := c.Spec.JobTemplate
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name, Labels: template.Labels, Annotations: map[string]string{"cronjob.kubernetes.io/instantiate": "manual"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: c.Name, UID: c.UID, Controller: ptr(true)}},
		},
		Spec: template.Spec,
	}
	if edit != nil {
		edit(&j.Spec.Template.Spec)
	}
	create(t, j)
}

// onlyOf checks that no CronJob, Job or pod of another schedule is there.
func onlyOf(t *testing.T, ns, schedule string) error {
	const label = "commerce.rcommerce.app/schedule"
	for _, list := range []client.ObjectList{&batchv1.CronJobList{}, &batchv1.JobList{}, &corev1.PodList{}} {
		if err := cluster.List(t.Context(), list, client.InNamespace(ns), client.HasLabels{label}); err != nil {
			return err
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			if o := item.(client.Object); o.GetLabels()[label] != schedule {
				return fmt.Errorf("%T %s is there", item, o.GetName())
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestWorkersFollowTheQueuesFromZeroToFiveAndBack(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", plainHTTP, func(s *v1alpha1.Store) {
		s.Spec.Worker.Workers, s.Spec.Worker.Concurrency = ptr(int32(1)), ptr(int32(1))
		s.Spec.Worker.Autoscaling = &v1alpha1.WorkerAutoscalingSpec{
			MinReplicas: ptr(int32(0)), MaxReplicas: 5, TargetWaitingPerReplica: ptr(int32(4)), ScaleDownAfter: &metav1.Duration{Duration: 15 * time.Second},
		}
	}))
	ready(t, ns, "shop")
	workers := func() int32 { return *read(t, ns, "shop-worker", &appsv1.Deployment{}).Spec.Replicas }
	until := func(within time.Duration, want int32) time.Duration {
		t.Helper()
		begun := time.Now()
		eventually(t, within, fmt.Sprintf("%d workers", want), func() error {
			if n := workers(); n != want {
				return fmt.Errorf("there are to be %d", n)
			}
			return nil
		})
		return time.Since(begun)
	}
	until(2*time.Minute, 0)

	// A server that is not there, in the pods' own network: an attempt takes
	// seconds to find out, so that the queue does not empty at once.
	var pods corev1.PodList
	if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), podsOf("api")); err != nil || len(pods.Items) == 0 {
		t.Fatalf("%d api pods: %v", len(pods.Items), err)
	}
	own := netip.MustParseAddr(pods.Items[0].Status.PodIP).As4()
	own[3] = 254
	patchStore(t, ns, "shop", mailTo(t, ns, netip.AddrFrom4(own).String()+":25"))
	ready(t, ns, "shop")
	create(t, newSchedule(ns, "mails", "email", payload(testMessage("ada@example.com")), func(s *v1alpha1.JobSchedule) { s.Spec.Schedule = "@yearly" }))
	enqueued := enqueueAll(t, ns, "mails", slices.Repeat([]string{jsonOf(t, testMessage("ada@example.com"))}, 60), "--max-attempts", "1")
	until(2*time.Minute, 5)
	var first time.Time
	eventually(t, time.Minute, "a worker to be ready", func() error {
		if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), podsOf("worker")); err != nil {
			return err
		}
		for _, p := range pods.Items {
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && (first.IsZero() || c.LastTransitionTime.Time.Before(first)) {
					first = c.LastTransitionTime.Time
				}
			}
		}
		if first.IsZero() {
			return errors.New("none is")
		}
		return nil
	})
	t.Logf("the first worker was ready %s after the jobs", first.Sub(enqueued))
	if first.Sub(enqueued) > 10*time.Second {
		t.Errorf("the first of the jobs waited %s for a worker", first.Sub(enqueued))
	}
	t.Logf("the workers were gone after %s", until(patience, 0))
	condition(t, ns, "shop", v1alpha1.WorkersScaledCondition, func(c metav1.Condition) bool { return c.Status == metav1.ConditionTrue })
}

// jobDone waits for a Kubernetes Job to be complete, and tells when it was.
func jobDone(t *testing.T, ns, name string) (at time.Time) {
	t.Helper()
	eventually(t, patience, "Job "+name, func() error {
		j := read(t, ns, name, &batchv1.Job{})
		if j.Status.CompletionTime == nil {
			return fmt.Errorf("its status is %s", jsonOf(t, j.Status))
		}
		at = j.Status.CompletionTime.Time
		return nil
	})
	return at
}
