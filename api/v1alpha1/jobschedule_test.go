package v1alpha1_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	commercev1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// jobSchedules is the kind JobSchedule.
var jobSchedules = kind{
	name: "JobSchedule", plural: "jobschedules",
	minimal: `
apiVersion: commerce.rcommerce.app/v1alpha1
kind: JobSchedule
metadata: {name: nightly}
spec: {storeRef: {name: shop}, schedule: "@daily", job: {kind: retention}}
`,
	rules:       scheduleRules,
	transitions: map[string][]string{"spec.storeRef": {"storeRef can not be changed"}},
	bounds: slices.Concat(
		lengths("spec.storeRef.name", 1, 63),
		lengths("spec.job.kind", 1, 63),
		numbers("spec.job.maxAttempts", 1, 100),
		numbers("spec.startingDeadlineSeconds", 10, 2678400),
		numbers("spec.successfulJobsHistoryLimit", 0, 100),
		numbers("spec.failedJobsHistoryLimit", 0, 100),
		[]bound{
			{"spec.schedule", "maxLength", 100},
			{"spec.timeZone", "maxLength", 64}, {"spec.job.payload", "maxProperties", 50},
			{"spec.job.timeout", "maxLength", 32}, {"spec.jitter", "maxLength", 32},
		},
	),
	enums: map[string][]string{
		"spec.execution":         {"Enqueue", "Run"},
		"spec.concurrencyPolicy": {"Allow", "Forbid", "Replace"},
		"spec.job.queue":         {"high", "normal", "low"},
	},
	required: []string{"spec", "spec.storeRef", "spec.storeRef.name", "spec.schedule", "spec.job", "spec.job.kind"},
	sized: map[string]func(n int64) any{
		"spec.schedule": func(n int64) any { return strings.Repeat(" ", max(0, int(n)-9)) + "* * * * *" },
		"spec.timeZone": func(n int64) any {
			return strings.Repeat("a/", int(n)/2-1) + strings.Repeat("a", int(n)-2*(int(n)/2-1))
		},
		"spec.job.timeout": period,
		"spec.jitter":      period,
	},
}

// fields are values of each field of a schedule, and what names the field in a refusal.
var fields = []struct {
	name              string
	accepted, refused []string
}{
	{"minute", []string{"0", "09", "59", "*/15", "5/10", "0-59/7", "1,3-5,*/30", "?"}, []string{"60", "-1", "*/0", "a", "1-60", "1-2-3", "*/2/2", "1,,2", ""}},
	{"hour", []string{"0", "23", "8-18/2"}, []string{"24", "8-24", "*/"}},
	{"day of the month", []string{"1", "31", "1,15"}, []string{"0", "32", "L"}},
	{"month", []string{"1", "12", "jan", "JAN-Mar", "feb,aug/2"}, []string{"0", "13", "janvier", "jan-", "1-feb"}},
	{"day of the week", []string{"0", "6", "sun", "MON-fri", "0-6/2"}, []string{"7", "mon-8", "sunday", "5#2"}},
}

var scheduleRules = append(fieldRules(),
	rule{
		name: "A schedule's name can become a label", field: "",
		accepted: "metadata: {name: " + strings.Repeat("s", 63) + "}", refused: "metadata: {name: " + strings.Repeat("s", 64) + "}",
		says: []string{"metadata.name becomes a label of pods"},
	}, rule{
		name: "A schedule's name has no dots", field: "",
		accepted: `metadata: {name: 6-hourly}`, refused: `metadata: {name: every.day}`,
		says: []string{"metadata.name", "letters, digits and '-'"},
	}, rule{
		name: "A schedule has five fields", field: "spec.schedule",
		accepted: `schedule: " 0  */6 * * * "`, refused: `schedule: "0 0 */6 * * *"`,
		says: []string{"schedule must have five fields", "such as 0 */6 * * *"},
	}, rule{
		name: "A schedule is one of the words", field: "spec.schedule",
		accepted: `schedule: "@hourly"`, refused: `schedule: "@every 5m"`,
		says: []string{"schedule must have five fields", "@hourly"},
	}, rule{
		name: "A schedule names no time zone", field: "spec.schedule",
		accepted: `schedule: "0 6 * * *", timeZone: Europe/Berlin`, refused: `schedule: "TZ=Europe/Berlin 0 6 * * *"`,
		says: []string{"A time zone goes in timeZone"},
	}, rule{
		name: "A range goes upwards", field: "spec.schedule",
		accepted: `schedule: "0 22-23,0-6 * * *"`, refused: `schedule: "0 22-6 * * *"`,
		says: []string{"a range of schedule ends before it begins", "such as 22-23,0-6"},
	}, rule{
		name: "A range of days goes upwards", field: "spec.schedule",
		accepted: `schedule: "0 0 * * mon-sat"`, refused: `schedule: "0 0 * * sat-mon/2"`,
		says: []string{"a range of schedule ends before it begins"},
	}, rule{
		name: "A range of months goes upwards", field: "spec.schedule",
		accepted: `schedule: "0 0 1 jan-DEC *"`, refused: `schedule: "0 0 1 Nov-feb *"`,
		says: []string{"a range of schedule ends before it begins"},
	}, rule{
		name: "A time zone is one of the IANA's", field: "spec.timeZone",
		accepted: `timeZone: America/Argentina/ComodRivadavia`, refused: `timeZone: "+01:00"`,
		says: []string{"timeZone must be a name of the IANA's", "Europe/Berlin"},
	}, rule{
		name: "A time zone is not that of some machine", field: "spec.timeZone",
		accepted: `timeZone: Etc/GMT+2`, refused: `timeZone: Local`,
		says: []string{"timeZone must be a name of the IANA's"},
	}, rule{
		name: "A time zone leads nowhere else", field: "spec.timeZone",
		accepted: `timeZone: UTC`, refused: `timeZone: ../../etc/localtime`,
		says: []string{"timeZone must be a name of the IANA's"},
	}, rule{
		name: "Resources are those of a pod that works the job", field: "spec",
		accepted: `execution: Run, resources: {limits: {memory: 1Gi}}`, refused: `resources: {limits: {memory: 1Gi}}`,
		says: []string{"resources are those of the pod", "set it, or remove resources"},
	}, rule{
		name: "A job's kind is a word", field: "spec.job.kind",
		accepted: `job: {kind: sales_report-2}`, refused: `job: {kind: "--help"}`,
		says: []string{"job.kind must consist of lower-case letters", "such as retention"},
	}, rule{
		name: "An attempt has a second at least", field: "spec.job.timeout",
		accepted: `job: {kind: a, timeout: 1s}`, refused: `job: {kind: a, timeout: 999ms}`,
		says: []string{"job.timeout must be between 1s and 24h"},
	}, rule{
		name: "An attempt has a day at most", field: "spec.job.timeout",
		accepted: `job: {kind: a, timeout: 24h}`, refused: `job: {kind: a, timeout: 24h1s}`,
		says: []string{"job.timeout must be between 1s and 24h"},
	}, rule{
		name: "Jitter is not less than none", field: "spec.jitter",
		accepted: `jitter: 0s`, refused: `jitter: -1s`,
		says: []string{"jitter must be between 0s and 24h"},
	}, rule{
		name: "Jitter is a day at most", field: "spec.jitter",
		accepted: `jitter: 24h`, refused: `jitter: 1441m`,
		says: []string{"jitter must be between 0s and 24h"},
	},
)

// at is a schedule with a value in one of its fields.
func at(field int, value string) string {
	all := []string{"*", "*", "*", "*", "*"}
	all[field] = value
	return strings.Join(all, " ")
}

func fieldRules() (rules []rule) {
	for i, f := range fields {
		rules = append(rules, rule{
			name: "The " + f.name + " keeps to its range", field: "spec.schedule",
			accepted: fmt.Sprintf("schedule: %q", at(i, f.accepted[1])), refused: fmt.Sprintf("schedule: %q", at(i, f.refused[0])),
			says: []string{"field of schedule, the " + f.name + ", goes from", "write *, a number, a range"},
		})
	}
	return rules
}

// What the API server takes, Kubernetes' CronJob controller can read, by the
// same library; and what it refuses is told with the field's name.
func TestAScheduleIsTakenAsTheCronJobControllerTakesIt(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	try := func(schedule string) error {
		made := jobSchedules.object(t, namespace, ``)
		if err := unstructured.SetNestedField(made.Object, schedule, "spec", "schedule"); err != nil {
			t.Fatal(err)
		}
		return dryRun(t, c, made)
	}
	words := []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
	for i, f := range fields {
		for _, value := range f.accepted {
			words = append(words, at(i, value))
		}
		for _, value := range f.refused {
			err := try(at(i, value))
			if !apierrors.IsInvalid(err) || value != "" && !strings.Contains(err.Error(), "the "+f.name) {
				t.Errorf("%q: %v", at(i, value), err)
			}
		}
	}
	for _, schedule := range words {
		if err := try(schedule); err != nil {
			t.Errorf("%q is refused: %v", schedule, err)
		}
		if _, err := cron.ParseStandard(schedule); err != nil {
			t.Errorf("%q is taken, and the CronJob controller does not read it: %v", schedule, err)
		}
	}
}

func TestAScheduleStaysWithItsStore(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	before := jobSchedules.object(t, namespace, ``)
	if err := c.Create(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, patchSpec(t, c, before, `storeRef: {name: other}`), "storeRef can not be changed", "make a second JobSchedule")
	if err := patchSpec(t, c, before, `schedule: "@hourly"`); err != nil {
		t.Error(err)
	}
}

func TestThePayloadOfAJobIsKeptAsItIs(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := jobSchedules.object(t, namespace, `job: {kind: email, payload: {to: a@example.com, deep: {er: [1, "b", null]}}}`)
	if err := c.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	read := &commercev1alpha1.JobSchedule{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(made), read); err != nil {
		t.Fatal(err)
	}
	if raw := string(read.Spec.Job.Payload.Raw); raw != `{"deep":{"er":[1,"b",null]},"to":"a@example.com"}` {
		t.Errorf("the payload is %s", raw)
	}
	expectRefusal(t, dryRun(t, c, jobSchedules.object(t, namespace, `job: {kind: email, payload: "text"}`)), "spec.job.payload", "object")
}

func TestDefaultsOfASchedule(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := &commercev1alpha1.JobSchedule{ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: namespace}}
	made.Spec.StoreRef.Name, made.Spec.Schedule, made.Spec.Job.Kind = "shop", "@daily", "retention"
	if err := c.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	s := made.Spec
	if s.TimeZone != "Etc/UTC" || s.Execution != commercev1alpha1.ExecutionEnqueue || s.ConcurrencyPolicy != commercev1alpha1.ConcurrencyForbid || s.Job.Queue != "" {
		t.Errorf("the spec became %+v", s)
	}
}

func TestPrinterColumnsOfASchedule(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	if err := c.Create(t.Context(), jobSchedules.object(t, namespace, `timeZone: Europe/Berlin`)); err != nil {
		t.Fatal(err)
	}
	made := &commercev1alpha1.JobSchedule{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "nightly"}, made); err != nil {
		t.Fatal(err)
	}
	now := metav1.Now()
	next := metav1.NewTime(time.Date(2099, 1, 2, 3, 4, 0, 0, time.UTC))
	made.Status = commercev1alpha1.JobScheduleStatus{
		Conditions: []metav1.Condition{{Type: "LastRunSucceeded", Status: "False", Reason: "Dead", Message: "the server said no", LastTransitionTime: now}},
		Suspended:  new(false), NextScheduleTime: &next, LastScheduleTime: &now, CronJobName: "shop-nightly-1", DeadLetters: new(int64(3)),
		LastRun: &commercev1alpha1.JobRun{JobID: 7, State: "Dead", CreatedAt: now},
	}
	if err := c.Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	narrow, shown := columns(t, namespace, "jobschedules", "nightly")
	if want := []string{"Name", "Store", "Schedule", "Suspended", "Next Run", "Last Run", "Last Result", "Dead", "Age"}; !slices.Equal(narrow, want) {
		t.Errorf("kubectl get shows %q, want %q", narrow, want)
	}
	for name, want := range map[string]string{
		"Store": "shop", "Schedule": "@daily", "Suspended": "false", "Next Run": "2099-01-02T03:04:00Z", "Last Result": "Dead", "Dead": "3",
		"Time Zone": "Europe/Berlin", "Kind": "retention", "Execution": "Enqueue", "CronJob": "shop-nightly-1", "Message": "the server said no",
	} {
		if shown[name] != want {
			t.Errorf("column %s shows %q, want %q", name, shown[name], want)
		}
	}
}

func TestAScheduleIsFoundByItsShortNameAndCategories(t *testing.T) {
	if r := served(t, "jobschedules"); !slices.Equal(r.ShortNames, []string{"jsch"}) || !slices.Equal(r.Categories, []string{"all", "gocart"}) {
		t.Errorf("short names %q, categories %q", r.ShortNames, r.Categories)
	}
}
