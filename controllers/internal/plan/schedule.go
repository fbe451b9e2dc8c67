package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// MaxPayload bounds a job's payload in bytes: it is an argument of a program.
const MaxPayload = 16 << 10

const (
	// enqueueDeadline has a pod that only enqueues end, also one that can not
	// start, so that it does not stand in the way of later ones.
	enqueueDeadline = 10 * time.Minute
	// runDeadline is for a pod that works a job. The runtime itself bounds each
	// attempt; this ends a pod that can not start, and is never shorter than the
	// attempts that the spec asks for, with an hour between two at the most.
	runDeadline  = 24 * time.Hour
	longestPause = time.Hour
	// usualAttempts and usualTimeout are the runtime's for what the spec leaves out.
	usualAttempts int32 = 20
	usualTimeout        = 5 * time.Minute
)

// CronJob is what a schedule becomes. Its pods run the image that the Store's
// serve with, never one whose migration is not done.
func CronJob(in Input, s *v1alpha1.JobSchedule, suspended bool) *batchv1.CronJob {
	name := CronJobName(in.Store.Name, s.Name)
	labels := scheduleLabels(in, s)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: scheduleLabels(in, s)}, Spec: jobPod(in, s)}
	if s.Spec.Execution == v1alpha1.ExecutionRun {
		template = withReports(in, template)
	}
	return &batchv1.CronJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.Namespace, Labels: labels},
		Spec: batchv1.CronJobSpec{
			Schedule:                s.Spec.Schedule,
			TimeZone:                ptr(s.Spec.TimeZone),
			ConcurrencyPolicy:       batchv1.ConcurrencyPolicy(s.Spec.ConcurrencyPolicy),
			StartingDeadlineSeconds: s.Spec.StartingDeadlineSeconds,
			Suspend:                 ptr(suspended),
			// They bound what is left, so that no Job needs a time to live: why the
			// last one failed can be looked at until another one did.
			SuccessfulJobsHistoryLimit: ptr(orDefault(s.Spec.SuccessfulJobsHistoryLimit, 3)),
			FailedJobsHistoryLimit:     ptr(orDefault(s.Spec.FailedJobsHistoryLimit, 1)),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: scheduleLabels(in, s)},
				Spec: batchv1.JobSpec{
					// A pod that dies, or finds no database, is tried again after 10, 20 and
					// 40 s. By the key it is the same job.
					BackoffLimit:          ptr(int32(3)),
					ActiveDeadlineSeconds: ptr(int64(jobDeadline(s).Seconds())),
					Template:              template,
				},
			},
		},
	}
}

func scheduleLabels(in Input, s *v1alpha1.JobSchedule) map[string]string {
	l := Labels(in.Store.Name, ComponentJob)
	l[LabelSchedule] = s.Name
	return l
}

func jobPod(in Input, s *v1alpha1.JobSchedule) corev1.PodSpec {
	command := "enqueue"
	if s.Spec.Execution == v1alpha1.ExecutionRun {
		command = "run-job"
	}
	job := s.Spec.Job
	args := []string{
		command, job.Kind,
		"--schedule", s.Name,
		// A Job's name may be used again by hand, its UID never.
		"--key", "$(JOB_NAME).$(JOB_UID)",
		"--report", corev1.TerminationMessagePathDefault,
	}
	if job.Queue != "" {
		args = append(args, "--queue", string(job.Queue))
	}
	if job.Payload != nil {
		args = append(args, "--payload", literal(string(job.Payload.Raw)))
	}
	if job.MaxAttempts != nil {
		args = append(args, "--max-attempts", strconv.Itoa(int(*job.MaxAttempts)))
	}
	if job.Timeout != nil {
		args = append(args, "--timeout", job.Timeout.Duration.String())
	}
	if s.Spec.Jitter != nil {
		args = append(args, "--jitter", s.Spec.Jitter.Duration.String())
	}
	pod := runtimePod(in, ComponentJob, in.Images.Serving, args)
	c := &pod.Containers[0]
	c.Env = []corev1.EnvVar{
		{Name: "JOB_NAME", ValueFrom: fromLabel(batchv1.JobNameLabel)},
		{Name: "JOB_UID", ValueFrom: fromLabel(batchv1.ControllerUidLabel)},
	}
	c.Resources = resources(nil, "10m", "32Mi", "128Mi")
	if s.Spec.Execution == v1alpha1.ExecutionRun {
		// It does a worker's work, and needs what a worker holds.
		pod = withSecrets(in, pod)
		pod.Containers[0].Resources = resources(s.Spec.Resources, "100m", "128Mi", "512Mi")
		pod.TerminationGracePeriodSeconds = ptr(int64(drainTimeout.Seconds()) + 10)
	}
	pod.RestartPolicy = corev1.RestartPolicyNever
	if scheduling := in.Store.Spec.Worker.Scheduling; scheduling != nil {
		pod = place(pod, &scheduling.PlacementSpec)
		pod.Affinity = scheduling.Affinity
	}
	return pod
}

// literal keeps the kubelet from taking $(X) in a payload for a variable.
func literal(s string) string { return strings.ReplaceAll(s, "$(", "$$(") }

func fromLabel(label string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: fmt.Sprintf("metadata.labels['%s']", label)}}
}

// jobDeadline is how long a Job of the schedule may last.
func jobDeadline(s *v1alpha1.JobSchedule) time.Duration {
	if s.Spec.Execution != v1alpha1.ExecutionRun {
		return enqueueDeadline
	}
	wait := runDeadline
	if s.Spec.Jitter != nil {
		wait += s.Spec.Jitter.Duration
	}
	attempts, timeout := orDefault(s.Spec.Job.MaxAttempts, usualAttempts), usualTimeout
	if s.Spec.Job.Timeout != nil {
		timeout = s.Spec.Job.Timeout.Duration
	}
	return max(wait, time.Duration(attempts)*(timeout+longestPause))
}
