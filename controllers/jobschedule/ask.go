package jobschedule

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/runtime/status"
)

// States of a run of which the database knows nothing: its pod waits, or ended
// without a job.
const (
	statePending     = "Pending"
	stateNotEnqueued = "NotEnqueued"
)

// pod is what the newest Kubernetes Job of a schedule came to.
type pod struct {
	job *batchv1.Job
	// report of its pod, nil before it ended.
	report *status.Enqueued
	// reason and message say what keeps it from running, or why it failed.
	reason, message string
	failed          bool
}

// ended tells whether a pod of it has ended, and not whether all have.
func (p *pod) ended() bool { return p.report != nil || p.failed }

// ask finds out what became of the newest run: first from its pod, then from
// the Store's database, by a pod that serves.
func (r *Reconciler) ask(ctx context.Context, run *run) error {
	if run.store == nil {
		return nil
	}
	pod, err := r.newest(ctx, run)
	if err != nil {
		return err
	}
	known := r.memory.of(client.ObjectKeyFromObject(run.schedule))
	if known.due(run.now, pod) {
		answer, err := probe.Any(ctx, r.Client, client.ObjectKeyFromObject(run.store), func(ctx context.Context, ip string) (status.Schedule, error) {
			return r.Prober.Schedule(ctx, ip, run.schedule.Name)
		})
		if err != nil {
			log.FromContext(ctx).V(1).Info("no pod tells of the schedule's jobs", "why", err.Error())
		}
		known.asked(run.now, pod, sinceMade(answer, run.schedule), run.schedule.Status.LastRun)
	}
	run.again(known.next.Sub(run.now))
	run.tell(pod, known.answer)
	return nil
}

// newest looks at the newest Kubernetes Job that the CronJob made, or somebody
// made from it. It returns a zero pod where there is none.
func (r *Reconciler) newest(ctx context.Context, run *run) (pod, error) {
	var jobs batchv1.JobList
	labels := client.MatchingLabels{plan.LabelInstance: run.store.Name, plan.LabelSchedule: run.schedule.Name}
	if err := r.Client.List(ctx, &jobs, client.InNamespace(run.schedule.Namespace), labels); err != nil {
		return pod{}, fmt.Errorf("listing the Jobs of the schedule: %w", err)
	}
	p := pod{}
	for i := range jobs.Items {
		j := &jobs.Items[i]
		if run.cronJob != nil && metav1.IsControlledBy(j, run.cronJob) && (p.job == nil || older(p.job, j)) {
			p.job = j
		}
	}
	if p.job == nil {
		return p, nil
	}
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(p.job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: p.job.Name}); err != nil {
		return pod{}, fmt.Errorf("listing the pods of Job %s: %w", p.job.Name, err)
	}
	p.look(pods.Items)
	return p, nil
}

// older compares by name what was made within one second: the CronJob
// controller's names grow.
func older(a, b *batchv1.Job) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.Name < b.Name
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}

// look reads what the Job's pods, of which there are several after a failure, tell.
func (p *pod) look(pods []corev1.Pod) {
	var newest metav1.Time
	for i := range pods {
		one := &pods[i]
		if reason, message := diagnosis.Pod(one); reason != "" {
			p.reason, p.message = reason, message
		}
		for _, c := range one.Status.ContainerStatuses {
			if t := c.State.Terminated; t != nil && t.Message != "" && !t.FinishedAt.Before(&newest) {
				newest, p.report = t.FinishedAt, parse(t.Message)
			}
		}
	}
	for _, c := range p.job.Status.Conditions {
		if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
			p.failed = true
			if p.message == "" {
				p.reason, p.message = v1alpha1.ReasonNotEnqueued, c.Message
			}
		}
	}
	if p.report != nil && p.report.Job == nil && p.report.Error != "" {
		p.reason, p.message = v1alpha1.ReasonNotEnqueued, p.report.Error
	}
}

// last is the newest job that is known beside the one that was told of. A report
// is of the moment when its pod ended: the database may know more.
func (p *pod) last(answer *status.Schedule, was *v1alpha1.JobRun) *status.Job {
	var known *status.Job
	if answer != nil && !outlived(answer.Last, was) {
		known = answer.Last
	}
	if p.report == nil || p.report.Job == nil || known != nil && known.ID >= p.report.Job.ID {
		return known
	}
	if told := was != nil && was.FinishedAt != nil && was.JobID == p.report.Job.ID; told || outlived(p.report.Job, was) {
		return known
	}
	return p.report.Job
}

// outlived tells of a job that is older than the one that was told of: the
// database forgets a completed job after a day, and a dead one after a month.
func outlived(j *status.Job, was *v1alpha1.JobRun) bool {
	return j != nil && was != nil && was.FinishedAt != nil && j.CreatedAt.Before(was.CreatedAt.Time)
}

// parse reads a report; the last words of a program that wrote none are taken
// for its error.
func parse(message string) *status.Enqueued {
	var e status.Enqueued
	if err := json.Unmarshal([]byte(strings.TrimSpace(message)), &e); err != nil || e.Job == nil && e.Error == "" {
		e = status.Enqueued{Error: message}
	}
	e.Error = diagnosis.Clip(e.Error)
	return &e
}

// sinceMade drops jobs of an earlier schedule of the name.
func sinceMade(answer *status.Schedule, s *v1alpha1.JobSchedule) *status.Schedule {
	if answer == nil {
		return nil
	}
	for _, j := range []**status.Job{&answer.Last, &answer.LastFinished} {
		if *j != nil && (*j).CreatedAt.Before(s.CreationTimestamp.Time) {
			*j = nil
		}
	}
	return answer
}

// tell fills in what is known of the runs. What nobody can be asked for stays
// as it was.
func (run *run) tell(p pod, answer *status.Schedule) {
	s := &run.schedule.Status
	last := p.last(answer, s.LastRun)
	var finished *status.Job
	if answer != nil {
		s.DeadLetters = &answer.Dead
		if !outlived(answer.LastFinished, s.LastRun) {
			finished = answer.LastFinished
		}
	}
	if last != nil {
		s.LastRun = runOf(last)
		if last.FinishedAt != nil {
			finished = last
		}
	}
	if was := meta.FindStatusCondition(s.Conditions, v1alpha1.LastRunSucceededCondition); was != nil {
		run.lastRun = metav1.Condition{Type: was.Type, Status: was.Status, Reason: was.Reason, Message: was.Message}
	} else {
		run.lastRun = metav1.Condition{Type: v1alpha1.LastRunSucceededCondition, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNoRunYet, Message: "no run has ended yet"}
	}
	if finished != nil {
		run.lastRun = verdict(finished)
	}
	if p.job == nil || p.message == "" {
		return
	}
	if known := s.LastRun; known != nil && known.JobID != 0 && !known.CreatedAt.Before(&p.job.CreationTimestamp) {
		return // It has a job, or a newer run has, whose pod is gone already.
	}
	// The newest run has no job: its pod waits for something, or failed.
	made := &v1alpha1.JobRun{State: statePending, CreatedAt: p.job.CreationTimestamp, Message: p.message}
	if p.failed {
		made.State, made.FinishedAt = stateNotEnqueued, endOf(p.job)
	}
	s.LastRun = made
	run.lastRun = failed(v1alpha1.LastRunSucceededCondition, outcome.Waiting(p.reason, 0, "Job %s: %s", p.job.Name, p.message))
}

func endOf(j *batchv1.Job) *metav1.Time {
	for _, c := range j.Status.Conditions {
		if c.Type == batchv1.JobFailed {
			return &metav1.Time{Time: c.LastTransitionTime.Time}
		}
	}
	return nil
}

func runOf(j *status.Job) *v1alpha1.JobRun {
	r := &v1alpha1.JobRun{
		JobID: j.ID, State: capital(j.State), Attempt: int32(j.Attempt),
		CreatedAt: metav1.NewTime(j.CreatedAt.Truncate(time.Second)), Message: diagnosis.Clip(j.Error),
	}
	if j.FinishedAt != nil {
		r.FinishedAt = &metav1.Time{Time: j.FinishedAt.Truncate(time.Second)}
	}
	return r
}

func capital(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

// verdict is the condition LastRunSucceeded by a job that ended.
func verdict(j *status.Job) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.LastRunSucceededCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCompleted,
		Message: fmt.Sprintf("job %d was completed", j.ID)}
	if j.State != status.JobCompleted {
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonDead
		c.Message = fmt.Sprintf("job %d failed for good after %d attempts: %s", j.ID, j.Attempt, diagnosis.Clip(j.Error))
	}
	return c
}
