package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// JobSchedule has a Store do a job at the times that a cron expression names.
// It becomes a CronJob, which is suspended while the Store migrates or is
// paused. Its status tells of the job's own end, not only of the pod's that
// enqueued it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=jsch,categories=all;gocart
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.status.suspended`
// +kubebuilder:printcolumn:name="Next Run",type=string,JSONPath=`.status.nextScheduleTime`
// +kubebuilder:printcolumn:name="Last Run",type=date,JSONPath=`.status.lastScheduleTime`
// +kubebuilder:printcolumn:name="Last Result",type=string,JSONPath=`.status.lastRun.state`
// +kubebuilder:printcolumn:name="Dead",type=integer,JSONPath=`.status.deadLetters`
// +kubebuilder:printcolumn:name="Time Zone",type=string,JSONPath=`.spec.timeZone`,priority=1
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.job.kind`,priority=1
// +kubebuilder:printcolumn:name="Execution",type=string,JSONPath=`.spec.execution`,priority=1
// +kubebuilder:printcolumn:name="CronJob",type=string,JSONPath=`.status.cronJobName`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="LastRunSucceeded")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name becomes a label of pods: use at most 63 lower-case letters, digits and '-'"
type JobSchedule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is to be done, and when.
	// +required
	Spec JobScheduleSpec `json:"spec"`
	// status is what became of it; it speaks of the generation in observedGeneration.
	// +optional
	Status JobScheduleStatus `json:"status,omitempty"`
}

// JobScheduleList is a list of JobSchedules.
//
// +kubebuilder:object:root=true
type JobScheduleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []JobSchedule `json:"items"`
}

// JobScheduleSpec is what is to be done, and when.
//
// +kubebuilder:validation:XValidation:rule="!has(self.resources) || self.execution == 'Run'",message="resources are those of the pod that works the job with execution: Run: set it, or remove resources"
type JobScheduleSpec struct {
	// storeRef names the Store, of the schedule's own namespace. It can not be
	// changed: what became of earlier runs is in that Store's database.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="storeRef can not be changed, for the earlier runs are in that Store's database: make a second JobSchedule"
	StoreRef StoreReference `json:"storeRef"`

	// schedule is when: minute, hour, day of month, month and day of week, such as
	// 0 */6 * * * for every six hours, or a word such as @daily. When day of month
	// and day of week are both narrowed, one of them is enough.
	// +required
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$') || self.split(' ').filter(f, f != '').size() == 5",message="schedule must have five fields, minute, hour, day of month, month and day of week, such as 0 */6 * * *; or be @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually. A time zone goes in timeZone"
	// +kubebuilder:validation:XValidation:rule="self.split(' ').filter(f, f != '').size() != 5 || self.split(' ').filter(f, f != '')[0].split(',').all(i, i.matches('^([*?]|(0?[0-9]|[1-5][0-9])(-(0?[0-9]|[1-5][0-9]))?)(/[1-9][0-9]{0,3})?$'))",message="the first field of schedule, the minute, goes from 0 to 59: write *, a number, a range, a step or a list of them, such as */15"
	// +kubebuilder:validation:XValidation:rule="self.split(' ').filter(f, f != '').size() != 5 || self.split(' ').filter(f, f != '')[1].split(',').all(i, i.matches('^([*?]|(0?[0-9]|1[0-9]|2[0-3])(-(0?[0-9]|1[0-9]|2[0-3]))?)(/[1-9][0-9]{0,3})?$'))",message="the second field of schedule, the hour, goes from 0 to 23: write *, a number, a range, a step or a list of them, such as 8-18/2"
	// +kubebuilder:validation:XValidation:rule="self.split(' ').filter(f, f != '').size() != 5 || self.split(' ').filter(f, f != '')[2].split(',').all(i, i.matches('^([*?]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]{0,3})?$'))",message="the third field of schedule, the day of the month, goes from 1 to 31: write *, a number, a range, a step or a list of them, such as 1,15"
	// +kubebuilder:validation:XValidation:rule="self.split(' ').filter(f, f != '').size() != 5 || self.lowerAscii().split(' ').filter(f, f != '')[3].split(',').all(i, i.matches('^([*?]|(0?[1-9]|1[0-2])(-(0?[1-9]|1[0-2]))?|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(-(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))?)(/[1-9][0-9]{0,3})?$'))",message="the fourth field of schedule, the month, goes from 1 to 12 or jan to dec: write *, a number, a range, a step or a list of them, such as jan-mar"
	// +kubebuilder:validation:XValidation:rule="self.split(' ').filter(f, f != '').size() != 5 || self.lowerAscii().split(' ').filter(f, f != '')[4].split(',').all(i, i.matches('^([*?]|0?[0-6](-0?[0-6])?|(sun|mon|tue|wed|thu|fri|sat)(-(sun|mon|tue|wed|thu|fri|sat))?)(/[1-9][0-9]{0,3})?$'))",message="the fifth field of schedule, the day of the week, goes from 0, which is Sunday, to 6, or sun to sat: write *, a number, a range, a step or a list of them, such as mon-fri"
	// +kubebuilder:validation:XValidation:rule="self.findAll('[0-9]{1,3}-[0-9]{1,3}').all(r, int(r.split('-')[0]) <= int(r.split('-')[1])) && self.lowerAscii().findAll('[a-z]{3}-[a-z]{3}').all(r, 'janfebmaraprmayjunjulaugsepoctnovdecsunmontuewedthufrisat'.indexOf(r.split('-')[0]) <= 'janfebmaraprmayjunjulaugsepoctnovdecsunmontuewedthufrisat'.indexOf(r.split('-')[1]))",message="a range of schedule ends before it begins: write the lower value first, and one that goes round as a list, such as 22-23,0-6"
	Schedule string `json:"schedule"`

	// timeZone in which schedule is read: a name of the IANA's database, such as
	// Europe/Berlin.
	// +optional
	// +kubebuilder:default="Etc/UTC"
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_+][A-Za-z0-9._+-]{0,13}(/[A-Za-z0-9_+][A-Za-z0-9._+-]{0,13})*$') && self.lowerAscii() != 'local'",message="timeZone must be a name of the IANA's time zone database, such as Europe/Berlin or Etc/UTC"
	TimeZone string `json:"timeZone,omitempty"`

	// job is what is done.
	// +required
	Job ScheduledJob `json:"job"`

	// execution is Enqueue, in which a small pod puts the job into its queue for
	// the Store's workers, or Run, in which a pod of its own works it.
	// +optional
	// +kubebuilder:default=Enqueue
	Execution JobExecution `json:"execution,omitempty"`
	// resources of the pod of execution Run. By default it requests 100m of CPU and
	// 128Mi of memory, limited to 512Mi.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// concurrencyPolicy says what happens when it is time and the pod of the run
	// before is still there: Allow starts another one, Forbid skips the run, Replace
	// ends the pod before. With execution Enqueue it says nothing of the jobs,
	// which outlive their pod.
	// +optional
	// +kubebuilder:default=Forbid
	ConcurrencyPolicy ConcurrencyPolicy `json:"concurrencyPolicy,omitempty"`
	// startingDeadlineSeconds is how late a run may begin, after a suspension for
	// one. By default a run that was missed is made up for, once, however late.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2678400
	StartingDeadlineSeconds *int64 `json:"startingDeadlineSeconds,omitempty"`
	// suspend stops further runs.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`
	// successfulJobsHistoryLimit is how many finished Jobs are kept to look at. By default 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	SuccessfulJobsHistoryLimit *int32 `json:"successfulJobsHistoryLimit,omitempty"`
	// failedJobsHistoryLimit is how many failed Jobs are kept to look at. By default
	// 1; with 0, why a job could not be enqueued is lost with its pod.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	FailedJobsHistoryLimit *int32 `json:"failedJobsHistoryLimit,omitempty"`
	// jitter has the job begin a random time later, up to this one, so that many
	// stores do not all begin at once.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="jitter must be between 0s and 24h: write it in hours, minutes and seconds, such as 5m"
	Jitter *metav1.Duration `json:"jitter,omitempty"`
}

// StoreReference names a Store.
type StoreReference struct {
	// name of the Store, in the schedule's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// ScheduledJob is a job of the runtime.
type ScheduledJob struct {
	// kind of the job, such as email or retention; gocart jobs kinds lists them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9]*([_-][a-z0-9]+)*$')",message="job.kind must consist of lower-case letters, digits, '_' and '-', such as retention"
	Kind string `json:"kind"`
	// queue that it waits in. By default the kind's. With execution Run it waits in none.
	// +optional
	Queue JobQueue `json:"queue,omitempty"`
	// payload is what the kind asks for, 16 KiB of JSON at most. It is shown to
	// whoever may see pods: nothing secret belongs in it.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MaxProperties=50
	// +kubebuilder:pruning:PreserveUnknownFields
	Payload *runtime.RawExtension `json:"payload,omitempty"`
	// maxAttempts is how often it is tried before it is dead. By default the kind's.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxAttempts *int32 `json:"maxAttempts,omitempty"`
	// timeout of one attempt. By default the kind's.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="job.timeout must be between 1s and 24h: write it in hours, minutes and seconds, such as 10m"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// JobExecution is where a job is worked.
// +kubebuilder:validation:Enum=Enqueue;Run
type JobExecution string

// Executions of a job.
const (
	ExecutionEnqueue JobExecution = "Enqueue"
	ExecutionRun     JobExecution = "Run"
)

// ConcurrencyPolicy says what happens to a run while the one before goes on.
// +kubebuilder:validation:Enum=Allow;Forbid;Replace
type ConcurrencyPolicy string

// Policies of concurrency.
const (
	ConcurrencyAllow   ConcurrencyPolicy = "Allow"
	ConcurrencyForbid  ConcurrencyPolicy = "Forbid"
	ConcurrencyReplace ConcurrencyPolicy = "Replace"
)

// JobScheduleStatus is what became of a schedule.
type JobScheduleStatus struct {
	// observedGeneration is the generation of the spec that the rest speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Accepted tells whether the spec can be carried out, Scheduled
	// whether further runs come, LastRunSucceeded whether the newest run that
	// ended did what it is for.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// cronJobName of the CronJob: kubectl create job --from=cronjob/NAME runs it now.
	// +optional
	CronJobName string `json:"cronJobName,omitempty"`
	// suspended: no run comes, for spec.suspend, or while the Store migrates or is paused.
	// +optional
	Suspended *bool `json:"suspended,omitempty"`
	// nextScheduleTime is when the next run comes, absent while none does.
	// +optional
	NextScheduleTime *metav1.Time `json:"nextScheduleTime,omitempty"`
	// lastScheduleTime is when the last run was due.
	// +optional
	LastScheduleTime *metav1.Time `json:"lastScheduleTime,omitempty"`
	// lastRun is the newest job, as the Store's database knows it.
	// +optional
	LastRun *JobRun `json:"lastRun,omitempty"`
	// deadLetters are the jobs of this schedule that failed for good and that
	// nobody has looked at yet.
	// +optional
	DeadLetters *int64 `json:"deadLetters,omitempty"`
}

// JobRun is a job.
type JobRun struct {
	// jobID is its number in the Store's database, absent where no job was made.
	// +optional
	JobID int64 `json:"jobID,omitempty"`
	// state: Pending while its pod can not start, NotEnqueued when that failed; of
	// a job, Scheduled for later, Available to a worker, Running, Retryable after a
	// failure, Completed, or Dead.
	State string `json:"state"`
	// attempt that goes on, or was the last.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// createdAt is when it was enqueued.
	CreatedAt metav1.Time `json:"createdAt"`
	// finishedAt is when it was completed or died.
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// message is the error of the last attempt that failed, or of the pod.
	// +optional
	Message string `json:"message,omitempty"`
}
