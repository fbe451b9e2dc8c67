package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

func TestAScheduleBecomesTheCronJobOfItsGoldenFile(t *testing.T) {
	for _, name := range []string{"enqueue", "run"} {
		t.Run(name, func(t *testing.T) {
			asInGolden(t, filepath.Join("testdata", "schedules", name+".out.yaml"), manifest(t, scheduled(t, name)))
		})
	}
}

// scheduled is the CronJob of a case's Store and JobSchedule.
func scheduled(t testing.TB, name string) *batchv1.CronJob {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "schedules", name+".in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(string(raw), "\n---\n")
	in := plan.Input{Store: &v1alpha1.Store{}, Images: plan.Images{Serving: "gocart-runtime:1.4.0"}}
	read(t, documents[0], "stores", in.Store)
	s := &v1alpha1.JobSchedule{}
	read(t, documents[1], "jobschedules", s)
	return plan.CronJob(in, s, s.Spec.Suspend != nil && *s.Spec.Suspend)
}

func TestThePodsOfASchedulePassPodSecurityAndHoldOnlyKnownSecrets(t *testing.T) {
	for _, name := range []string{"enqueue", "run"} {
		spec := scheduled(t, name).Spec.JobTemplate.Spec.Template.Spec
		c := spec.Containers[0]
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken || !*spec.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s: the pod may do more than it needs: %+v", name, spec)
		}
		if secrets := secretsOf(spec); name == "enqueue" && len(secrets) != 1 {
			t.Errorf("a pod that only enqueues holds the Secrets %v", secrets)
		}
	}
}

func TestThePodsOfSchedulesAreLetToTheServersAndNobodyToThem(t *testing.T) {
	pod := labels.Set(scheduled(t, "enqueue").Spec.JobTemplate.Spec.Template.Labels)
	policies := map[string]*networkingv1.NetworkPolicy{}
	for _, o := range build(t, input(t, plain)).Network {
		policies[o.GetLabels()[plan.LabelComponent]] = o.(*networkingv1.NetworkPolicy)
	}
	for _, server := range []string{plan.ComponentPostgres, plan.ComponentRedis} {
		if from := policies[server].Spec.Ingress[0].From[0]; !asSelector(from.PodSelector).Matches(pod) {
			t.Errorf("the pods of schedules do not reach the %s", server)
		}
	}
	own := policies[plan.ComponentJob].Spec
	if !asSelector(&own.PodSelector).Matches(pod) || len(own.Ingress) != 0 || len(own.PolicyTypes) != 1 {
		t.Errorf("the policy of the schedules' pods is %+v", own)
	}
}

// scheduleName is any name that the CustomResourceDefinition accepts.
var scheduleName = rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`)

func TestTwoSchedulesNamesNeverMeet(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		store, schedule := storeName.Draw(r, "store"), scheduleName.Draw(r, "schedule")
		name := plan.CronJobName(store, schedule)
		// The CronJob controller adds up to 11 characters to make a Job's name.
		if errs := validation.IsDNS1035Label(name); len(errs) > 0 || len(name) > 52 {
			r.Fatalf("the name of %q of %q is %q: %v", schedule, store, name, errs)
		}
		others := [][2]string{{storeName.Draw(r, "other store"), scheduleName.Draw(r, "other schedule")}}
		// A neighbour: the same letters, parted elsewhere.
		if before, after, parted := strings.Cut(schedule, "-"); parted && before != "" && after != "" {
			others = append(others, [2]string{store + "-" + before, after})
		}
		for _, o := range others {
			if o != [2]string{store, schedule} && plan.CronJobName(o[0], o[1]) == name {
				r.Fatalf("schedule %q of store %q and %q of %q are both %q", schedule, store, o[1], o[0], name)
			}
		}
	})
}
