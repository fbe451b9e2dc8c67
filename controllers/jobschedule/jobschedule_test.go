package jobschedule_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/controllertest"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/jobschedule"
	"gitee.com/captainjez/gocart/runtime/status"
)

// The rule of docs/concepts/jobs.md, by the library that the CronJob controller
// has: a schedule is read on the clocks of its time zone.
func TestAScheduleAcrossTheChangesOfTheClocks(t *testing.T) {
	t.Parallel()
	const day = "Mon 02.01. 15:04 MST"
	for _, tc := range []struct {
		name, schedule, from string
		want                 []string
	}{
		{"A time that the clocks leave out is left out", "30 2 * * *", "2026-03-28T12:00:00+01:00",
			[]string{"Mon 30.03. 02:30 CEST", "Tue 31.03. 02:30 CEST"}},
		{"A time that the clocks show twice comes twice", "30 2 * * *", "2026-10-24T12:00:00+02:00",
			[]string{"Sun 25.10. 02:30 CEST", "Sun 25.10. 02:30 CET", "Mon 26.10. 02:30 CET"}},
		{"Noon stays noon in spring", "0 12 * * *", "2026-03-28T11:00:00+01:00",
			[]string{"Sat 28.03. 12:00 CET", "Sun 29.03. 12:00 CEST"}},
		{"Noon stays noon in autumn", "0 12 * * *", "2026-10-24T11:00:00+02:00",
			[]string{"Sat 24.10. 12:00 CEST", "Sun 25.10. 12:00 CET"}},
		{"Every hour is every hour in spring", "@hourly", "2026-03-29T01:30:00+01:00",
			[]string{"Sun 29.03. 03:00 CEST", "Sun 29.03. 04:00 CEST"}},
		{"Every hour is every hour in autumn", "@hourly", "2026-10-25T01:30:00+02:00",
			[]string{"Sun 25.10. 02:00 CEST", "Sun 25.10. 02:00 CET", "Sun 25.10. 03:00 CET"}},
		{"Every six hours are five in spring, for midnight is midnight", "0 */6 * * *", "2026-03-28T23:00:00+01:00",
			[]string{"Sun 29.03. 00:00 CET", "Sun 29.03. 06:00 CEST"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fires, err := jobschedule.Parse(tc.schedule, "Europe/Berlin")
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, tc.from)
			if err != nil {
				t.Fatal(err)
			}
			berlin, err := time.LoadLocation("Europe/Berlin")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				at = fires.Next(at)
				if got := at.In(berlin).Format(day); got != want {
					t.Errorf("it fires at %s, want %s", got, want)
				}
			}
		})
	}
}

func TestAScheduleBecomesACronJobAndSaysWhenItFires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.schedule("clean-up", `{schedule: "@hourly", timeZone: Asia/Kathmandu}`)
	s := w.until("clean-up", v1alpha1.ScheduledCondition, metav1.ConditionTrue, v1alpha1.ReasonScheduled, "@hourly in Asia/Kathmandu")
	w.until("clean-up", v1alpha1.AcceptedCondition, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	w.until("clean-up", v1alpha1.LastRunSucceededCondition, metav1.ConditionUnknown, v1alpha1.ReasonNoRunYet)
	c := w.cronJob("clean-up", suspended(false))
	if image := c.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image; image != "gocart-runtime:1" || !metav1.IsControlledBy(c, s) {
		t.Errorf("it runs %s and is owned by %v", image, c.OwnerReferences)
	}
	// Kathmandu is 5 h 45 min before UTC.
	next := s.Status.NextScheduleTime
	if next == nil || next.UTC().Minute() != 15 || time.Until(next.Time) > time.Hour || *s.Status.Suspended {
		t.Errorf("the next run is at %v, suspended %v", next, s.Status.Suspended)
	}
	w.Eventually("the CronJob's name", func() error {
		if name := w.read("clean-up").Status.CronJobName; name != c.Name {
			return fmt.Errorf("it is %q", name)
		}
		return nil
	})
	if meta.FindStatusCondition(w.read("clean-up").Status.Conditions, v1alpha1.ReconcilingCondition) != nil {
		t.Error("it is still on its way")
	}
}

func TestThePodsPassPodSecurityRestricted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	restricted := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "restricted-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if err := w.Client.Create(t.Context(), restricted); err != nil {
		t.Fatal(err)
	}
	for _, execution := range []v1alpha1.JobExecution{v1alpha1.ExecutionEnqueue, v1alpha1.ExecutionRun} {
		name := strings.ToLower(string(execution))
		w.schedule(name, `{schedule: "@hourly", execution: `+string(execution)+`}`)
		template := w.cronJob(name, suspended(false)).Spec.JobTemplate.Spec.Template
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: restricted.Name, Labels: template.Labels}, Spec: template.Spec}
		if err := w.Client.Create(t.Context(), p, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheNextRunIsToldAnewWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.schedule("clean-up", `{schedule: "* * * * *"}`)
	first := w.until("clean-up", v1alpha1.ScheduledCondition, metav1.ConditionTrue, v1alpha1.ReasonScheduled).Status.NextScheduleTime
	w.Clock.Forward(time.Until(first.Time) - 200*time.Millisecond)
	w.change("clean-up", func(s *v1alpha1.JobSchedule) { s.Spec.Job.MaxAttempts = new(int32(3)) })
	w.Eventually("the run after that", func() error {
		if next := w.read("clean-up").Status.NextScheduleTime; next == nil || !next.Equal(&metav1.Time{Time: first.Add(time.Minute)}) {
			return fmt.Errorf("it is %v after %v", next, first)
		}
		return nil
	})
}

func TestWhatCanNotBeCarriedOutIsNotAcceptedAndLeavesNoCronJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	for name, c := range map[string]struct {
		spec, reason string
		words        []string
	}{
		"never":    {`{schedule: "0 0 30 2 *"}`, v1alpha1.ReasonNeverFires, []string{"0 0 30 2 *", "correct its day"}},
		"nowhere":  {`{schedule: "@daily", timeZone: Mars/Olympus}`, v1alpha1.ReasonUnknownTimeZone, []string{"Mars/Olympus", "Europe/Berlin"}},
		"astray":   {`{schedule: "@daily", storeRef: {name: other}}`, v1alpha1.ReasonTargetNotFound, []string{"no Store other in namespace " + w.Namespace}},
		"too-much": {`{schedule: "@daily", job: {kind: email, payload: {text: "` + strings.Repeat("a", plan.MaxPayload) + `"}}}`, v1alpha1.ReasonTooLarge, []string{"spec.job.payload"}},
	} {
		w.schedule(name, c.spec)
		s := w.until(name, v1alpha1.AcceptedCondition, metav1.ConditionFalse, c.reason, c.words...)
		w.until(name, v1alpha1.StalledCondition, metav1.ConditionTrue, c.reason)
		w.until(name, v1alpha1.ScheduledCondition, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
		if s.Status.NextScheduleTime != nil || s.Status.CronJobName != "" {
			t.Errorf("%s: the status is %+v", name, s.Status)
		}
		w.untilGone(name)
	}
	w.UntilEvent(corev1.EventTypeWarning, v1alpha1.ReasonNeverFires, "0 0 30 2 *")
	// And is taken up when it is mended, and given up when it is spoiled.
	w.change("never", func(s *v1alpha1.JobSchedule) { s.Spec.Schedule = "0 0 28 2 *" })
	w.cronJob("never", suspended(false))
	w.UntilEvent(corev1.EventTypeNormal, v1alpha1.ReasonAccepted)
	w.change("never", func(s *v1alpha1.JobSchedule) { s.Spec.Schedule = "0 0 31 jun *" })
	w.untilGone("never")
}

func TestNoRunComesWhileTheStoreMigratesOrIsPausedOrTheSpecSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Store("shop")
	w.schedule("clean-up", `{schedule: "@hourly"}`)
	w.until("clean-up", v1alpha1.ScheduledCondition, metav1.ConditionFalse, v1alpha1.ReasonWaiting, "has no pods yet")
	w.untilGone("clean-up")
	if err := w.Client.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.until("clean-up", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
	w.serves("shop")
	w.cronJob("clean-up", suspended(false))

	not := func(reason string, onItsWay bool, words ...string) {
		t.Helper()
		now := w.until("clean-up", v1alpha1.ScheduledCondition, metav1.ConditionFalse, reason, words...)
		w.cronJob("clean-up", suspended(true))
		if is := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ReconcilingCondition) != nil; is != onItsWay {
			t.Errorf("%s: it is on its way: %t", reason, is)
		}
		if now.Status.NextScheduleTime != nil || !*now.Status.Suspended {
			t.Errorf("%s: the next run is at %v, suspended %v", reason, now.Status.NextScheduleTime, now.Status.Suspended)
		}
	}
	// The spec alone says it, before the Store's conditions do.
	w.changeStore("shop", func(s *v1alpha1.Store) { s.Spec.Image = &v1alpha1.ImageSpec{Tag: "2"} })
	not(v1alpha1.ReasonStoreMigrating, true, "MigrationSucceeded")
	now := w.changeStore("shop", func(s *v1alpha1.Store) { s.Spec.Image.Tag = "1" })
	w.cronJob("clean-up", suspended(false))
	w.migrated(now, metav1.ConditionFalse, "gocart-runtime:1")
	not(v1alpha1.ReasonStoreMigrating, true)
	w.migrated(now, metav1.ConditionTrue, "gocart-runtime:1")
	w.cronJob("clean-up", suspended(false))
	w.changeStore("shop", func(s *v1alpha1.Store) { s.Spec.Paused = true })
	not(v1alpha1.ReasonPaused, false, "Store shop is paused")
	w.changeStore("shop", func(s *v1alpha1.Store) { s.Spec.Paused = false })
	w.change("clean-up", func(s *v1alpha1.JobSchedule) { s.Spec.Suspend = new(true) })
	not(v1alpha1.ReasonSuspended, false, "spec.suspend")
	w.change("clean-up", func(s *v1alpha1.JobSchedule) { s.Spec.Suspend = nil })
	w.cronJob("clean-up", suspended(false))
}

func TestASuspensionByHandIsPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.schedule("clean-up", `{schedule: "@hourly"}`)
	c := w.cronJob("clean-up", suspended(false))
	before := c.DeepCopy()
	c.Spec.Suspend = new(true)
	if err := w.Client.Patch(t.Context(), c, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.cronJob("clean-up", suspended(false))
	w.UntilEvent(corev1.EventTypeNormal, "DriftCorrected", "spec.suspend", "CronJob")
}

func TestACronJobOfSomebodyElseIsNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.Create(&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: plan.CronJobName("shop", "clean-up")}, Spec: batchv1.CronJobSpec{
		Schedule: "@daily", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "a", Image: "b"}},
		}}}},
	}})
	w.schedule("clean-up", `{schedule: "@hourly"}`)
	w.until("clean-up", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonNameTaken, "does not belong to this JobSchedule")
	w.cronJob("clean-up", func(c *batchv1.CronJob) error {
		if c.Spec.Schedule != "@daily" {
			return errors.New("it was changed")
		}
		return nil
	})
}

func TestTheJobsOwnEndIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.pods.tell("mail", status.Schedule{})
	w.schedule("mail", `{schedule: "@hourly"}`)
	_, p := w.fire("mail", "first")
	job := &status.Job{ID: 7, Kind: "email", State: status.JobAvailable, MaxAttempts: 3, CreatedAt: time.Now()}
	// The pod has enqueued it: that alone is no success.
	w.ends(p, status.Enqueued{Job: job})
	w.Eventually("the job to be told of", func() error {
		if r := w.read("mail").Status.LastRun; r == nil || r.JobID != 7 || r.State != "Available" {
			return fmt.Errorf("the last run is %+v", r)
		}
		return nil
	})
	w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionUnknown, v1alpha1.ReasonNoRunYet)

	failing := *job
	failing.State, failing.Attempt, failing.Error = status.JobRetryable, 1, "550 no such user"
	w.pods.tell("mail", status.Schedule{Last: &failing})
	w.Clock.Forward(time.Minute)
	w.poke("mail")
	w.Eventually("the failed attempt to be told of", func() error {
		if r := w.read("mail").Status.LastRun; r.State != "Retryable" || r.Attempt != 1 || r.Message != "550 no such user" {
			return fmt.Errorf("the last run is %+v", r)
		}
		return nil
	})
	dead := failing
	dead.State, dead.Attempt, dead.FinishedAt = status.JobDead, 3, new(time.Now())
	w.pods.tell("mail", status.Schedule{Last: &dead, LastFinished: &dead, Dead: 1})
	w.Clock.Forward(2 * time.Minute)
	w.poke("mail")
	s := w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonDead, "job 7 failed for good after 3 attempts: 550 no such user")
	if s.Status.DeadLetters == nil || *s.Status.DeadLetters != 1 || s.Status.LastRun.State != "Dead" || s.Status.LastRun.FinishedAt == nil || s.Status.LastScheduleTime == nil {
		t.Errorf("the status is %+v", s.Status)
	}
	w.UntilEvent(corev1.EventTypeWarning, v1alpha1.ReasonDead, "550 no such user")

	// The next one is on its way, which takes nothing back, until it is done.
	next := &status.Job{ID: 9, Kind: "email", State: status.JobRunning, Attempt: 1, MaxAttempts: 3, CreatedAt: time.Now().Add(time.Minute)}
	w.pods.tell("mail", status.Schedule{Last: next, LastFinished: &dead, Dead: 1})
	_, p = w.fire("mail", "second")
	w.ends(p, status.Enqueued{Job: next})
	w.Eventually("the next job to be told of", func() error {
		if r := w.read("mail").Status.LastRun; r.JobID != 9 || r.State != "Running" {
			return fmt.Errorf("the last run is %+v", r)
		}
		return nil
	})
	w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonDead)
	done := *next
	done.State, done.FinishedAt = status.JobCompleted, new(time.Now())
	w.pods.tell("mail", status.Schedule{Last: &done, LastFinished: &done, Dead: 1})
	w.Clock.Forward(4 * time.Minute)
	w.poke("mail")
	w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionTrue, v1alpha1.ReasonCompleted, "job 9")
	w.UntilEvent(corev1.EventTypeNormal, v1alpha1.ReasonCompleted)

	// The database forgets it after a day, and the dead one before it after a month.
	w.pods.tell("mail", status.Schedule{Last: &dead, LastFinished: &dead, Dead: 7})
	w.Clock.Forward(time.Hour)
	w.poke("mail")
	w.Eventually("the dead letters to be counted anew", func() error {
		if n := w.read("mail").Status.DeadLetters; n == nil || *n != 7 {
			return fmt.Errorf("%v are told of", n)
		}
		return nil
	})
	if r := w.read("mail").Status.LastRun; r.JobID != 9 || r.State != "Completed" {
		t.Errorf("the last run is %+v", r)
	}
	w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionTrue, v1alpha1.ReasonCompleted, "job 9")
}

// poke has a schedule reconciled, as a watch would, for the test's clock wakes nobody.
func (w *world) poke(name string) {
	w.t.Helper()
	w.cronJob(name, func(c *batchv1.CronJob) error {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"test":"%d"}}}`, time.Now().UnixNano())
		return w.Client.Patch(w.t.Context(), c, client.RawPatch("application/merge-patch+json", patch))
	})
}

func TestAPodThatCanNotEnqueueSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.pods.tell("mail", status.Schedule{Last: &status.Job{ID: 3, State: status.JobCompleted, CreatedAt: time.Now().Add(-time.Hour)}})
	w.schedule("mail", `{schedule: "@hourly", job: {kind: emial}}`)
	j, p := w.fire("mail", "first")
	w.container(p, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"}})
	s := w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonImagePullFailed, "Job first", "gocart-runtime:1", "not found")
	if s.Status.LastRun == nil || s.Status.LastRun.State != "Pending" {
		t.Errorf("the last run is %+v", s.Status.LastRun)
	}
	w.ends(p, status.Enqueued{Error: `there is no kind of job "emial": it is one of email, retention`})
	w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonNotEnqueued, `no kind of job "emial"`)
	w.fails(j, "Job has reached the specified backoff limit")
	w.Eventually("the run to have failed", func() error {
		if r := w.read("mail").Status.LastRun; r.State != "NotEnqueued" || r.JobID != 0 || r.FinishedAt == nil || !strings.Contains(r.Message, "emial") {
			return fmt.Errorf("the last run is %+v", r)
		}
		return nil
	})
	w.UntilEvent(corev1.EventTypeWarning, v1alpha1.ReasonNotEnqueued, "emial")
}

func TestAPodThatNeverStartedIsToldByItsJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.pods.tell("mail", status.Schedule{})
	w.schedule("mail", `{schedule: "@hourly"}`)
	j, _ := w.fire("mail", "first")
	w.fails(j, "Job was active longer than specified deadline")
	w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonNotEnqueued, "longer than specified deadline")
}

func TestWhatAPodThatRanTheJobReportsIsBelievedWhileNobodyCanBeAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.schedule("report", `{schedule: "@hourly", execution: Run}`)
	_, p := w.fire("report", "first")
	w.ends(p, status.Enqueued{Job: &status.Job{ID: 5, State: status.JobDead, Attempt: 2, Error: "disk full", CreatedAt: time.Now(), FinishedAt: new(time.Now())}})
	w.until("report", v1alpha1.LastRunSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonDead, "job 5", "disk full")
	if s := w.read("report"); s.Status.DeadLetters != nil {
		t.Errorf("%d dead letters are told, of which nobody knows", *s.Status.DeadLetters)
	}
}

func TestAJobThatSomebodyMadeFromTheCronJobIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.schedule("mail", `{schedule: "@yearly"}`)
	// As kubectl create job --from=cronjob/... does it.
	_, p := w.fire("mail", "by-hand")
	done := &status.Job{ID: 2, State: status.JobCompleted, Attempt: 1, CreatedAt: time.Now(), FinishedAt: new(time.Now())}
	w.ends(p, status.Enqueued{Job: done})
	w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionTrue, v1alpha1.ReasonCompleted, "job 2")
}

func TestRunsOfAnEarlierScheduleOfTheNameAreNotItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	old := &status.Job{ID: 1, State: status.JobDead, CreatedAt: time.Now().Add(-time.Hour), FinishedAt: new(time.Now().Add(-time.Hour))}
	w.pods.tell("mail", status.Schedule{Last: old, LastFinished: old, Dead: 1})
	w.schedule("mail", `{schedule: "@hourly"}`)
	s := w.until("mail", v1alpha1.LastRunSucceededCondition, metav1.ConditionUnknown, v1alpha1.ReasonNoRunYet)
	w.Eventually("the dead letter, which somebody has to look at", func() error {
		if s = w.read("mail"); s.Status.DeadLetters == nil || *s.Status.DeadLetters != 1 || s.Status.LastRun != nil {
			return fmt.Errorf("the status is %+v", s.Status)
		}
		return nil
	})
}

func TestASteadyScheduleIsNeverWrittenAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serves("shop")
	w.pods.tell("a", status.Schedule{})
	w.schedule("a", `{schedule: "@yearly", job: {kind: email, payload: {to: a@example.com}}}`)
	w.schedule("never", `{schedule: "0 0 30 2 *"}`)
	w.cronJob("a", suspended(false))
	w.until("never", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonNeverFires)
	w.Eventually("all to be told", func() error {
		if s := w.read("a"); s.Status.CronJobName == "" || s.Status.DeadLetters == nil {
			return fmt.Errorf("the status is %+v", s.Status)
		}
		return nil
	})
	w.UntilEvent(corev1.EventTypeWarning, v1alpha1.ReasonNeverFires)
	before, asked := w.Writes.Load(), w.pods.asked.Load()
	for range 5 {
		w.poke("a")
	}
	w.Stop()
	w.start()
	w.Eventually("the restarted operator to ask", func() error {
		if w.pods.asked.Load() == asked {
			return errors.New("it has not")
		}
		return nil
	})
	if n := w.Writes.Load() - before; n > 0 {
		t.Errorf("a steady schedule cost %d requests that write", n)
	}
	if n := w.pods.asked.Load() - asked; n > 2 {
		t.Errorf("the pods were asked %d times", n)
	}
}

func TestAScheduleOfAnotherOperatorsStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Stop()
	w.shard = "shard=one"
	w.serves("shop")
	w.schedule("mail", `{schedule: "@hourly"}`)
	w.schedule("astray", `{schedule: "@hourly", storeRef: {name: nowhere}}`)
	w.start()
	w.until("astray", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
	if s := w.read("mail"); len(s.Status.Conditions) > 0 {
		t.Errorf("it was judged:\n%s", controllertest.Told(s, s.Status.Conditions))
	}
}
