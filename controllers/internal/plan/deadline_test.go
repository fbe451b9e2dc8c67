package plan

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func TestARunLastsAsLongAsItsAttemptsMay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		job  v1alpha1.ScheduledJob
		want time.Duration
	}{
		"nothing said":       {v1alpha1.ScheduledJob{}, 24 * time.Hour},
		"many attempts":      {v1alpha1.ScheduledJob{MaxAttempts: ptr(int32(100))}, 100 * (time.Hour + 5*time.Minute)},
		"a long timeout":     {v1alpha1.ScheduledJob{Timeout: &metav1.Duration{Duration: 3 * time.Hour}}, 20 * 4 * time.Hour},
		"few short attempts": {v1alpha1.ScheduledJob{MaxAttempts: ptr(int32(2)), Timeout: &metav1.Duration{Duration: time.Minute}}, 24 * time.Hour},
	} {
		s := &v1alpha1.JobSchedule{Spec: v1alpha1.JobScheduleSpec{Execution: v1alpha1.ExecutionRun, Job: c.job}}
		if got := jobDeadline(s); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}
