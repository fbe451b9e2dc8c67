package jobschedule

import (
	"context"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// judge finds out what the API server could not when the spec was applied.
func (r *Reconciler) judge(_ context.Context, run *run) error {
	spec := run.schedule.Spec
	switch fires, err := Parse(spec.Schedule, spec.TimeZone); {
	case run.store == nil:
		run.refuse(outcome.Terminal(v1alpha1.ReasonTargetNotFound,
			"there is no Store %s in namespace %s: make it, or a JobSchedule for another one", spec.StoreRef.Name, run.schedule.Namespace))
	case err != nil:
		run.refuse(err)
	case fires.Next(run.now).IsZero():
		run.refuse(outcome.Terminal(v1alpha1.ReasonNeverFires, "spec.schedule %q names a day that none of the next five years has: correct its day of month or its month", spec.Schedule))
	case spec.Job.Payload != nil && len(spec.Job.Payload.Raw) > plan.MaxPayload:
		run.refuse(outcome.Terminal(v1alpha1.ReasonTooLarge, "spec.job.payload has %d bytes, and %d is the most: put what is large where the job finds it, and name the place", len(spec.Job.Payload.Raw), plan.MaxPayload))
	default:
		run.fires = fires
		run.accepted = metav1.Condition{Type: v1alpha1.AcceptedCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted,
			Message: "is carried out for Store " + run.store.Name}
	}
	return nil
}

// refuse has the spec not carried out.
func (run *run) refuse(err error) {
	run.accepted = failed(v1alpha1.AcceptedCondition, err)
	run.scheduled = metav1.Condition{Type: v1alpha1.ScheduledCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotAccepted,
		Message: "no run comes: see the condition Accepted"}
}

func (run *run) isAccepted() bool { return run.accepted.Status == metav1.ConditionTrue }

func failed(condition string, err error) metav1.Condition {
	c := metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonError, Message: err.Error()}
	if e, ok := outcome.As(err); ok {
		c.Reason, c.Message = e.Reason, e.Message
	}
	return c
}

// Parse reads a schedule as the CronJob controller does. Its Next is on the
// clocks of the time zone: a time that they leave out when they go forward is
// left out, and one that they show twice when they go back comes twice.
func Parse(schedule, zone string) (cron.Schedule, error) {
	if _, err := time.LoadLocation(zone); err != nil {
		return nil, outcome.Terminal(v1alpha1.ReasonUnknownTimeZone, "spec.timeZone %q is no time zone of the IANA's database: write one such as Europe/Berlin", zone)
	}
	fires, err := cron.ParseStandard(fmt.Sprintf("TZ=%s %s", zone, schedule))
	if err != nil {
		return nil, outcome.Terminal(v1alpha1.ReasonInvalid, "spec.schedule %q can not be read: %v", schedule, err)
	}
	return fires, nil
}
