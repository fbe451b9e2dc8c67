//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	commerce "gitee.com/captainjez/gocart/runtime/openapi/client"
)

// mailbox runs a mail server that lets senders wait for a while, and returns
// the host name that pods reach it by, and where it tells of its mails.
func mailbox(t *testing.T, ns string, delay time.Duration) (host, url string) {
	t.Helper()
	labels := map[string]string{"app.kubernetes.io/name": "mailbox"}
	create(t, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "mailbox"},
		Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{
			{Name: "smtp", Port: 2525, TargetPort: intstr.FromInt32(2525)}, {Name: "http", Port: 8025, TargetPort: intstr.FromInt32(8025)},
		}},
	})
	create(t, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "mailbox"},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{
				SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
				Containers: []corev1.Container{{
					Name: "mailbox", Image: "docker.io/library/mailbox:dev", Args: []string{"--delay", delay.String()},
					SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
				}},
			},
		}},
	})
	ip := ""
	eventually(t, patience, "the mailbox", func() error {
		ip = read(t, ns, "mailbox", &corev1.Service{}).Spec.ClusterIP
		if n := read(t, ns, "mailbox", &appsv1.Deployment{}).Status.ReadyReplicas; n != 1 {
			return fmt.Errorf("%d pods are ready", n)
		}
		return nil
	})
	return "mailbox." + ns + ".svc:2525", "http://" + ip + ":8025"
}

// TestAThousandMailsOfWorkersThatAreKilled has two workers send 1,000 mails, of
// which the mail server refuses 20, while one of them at a time is killed and
// PostgreSQL is, once.
func TestAThousandMailsOfWorkersThatAreKilled(t *testing.T) {
	t.Parallel()
	const mails, refused, kills = 1000, 20, 6
	ns := namespace(t)
	host, box := mailbox(t, ns, 2*time.Second)
	create(t, newStore(ns, "shop", plainHTTP, mailTo(t, ns, host), func(s *v1alpha1.Store) { s.Spec.Worker.Replicas = ptr(int32(2)) }))
	create(t, newSchedule(ns, "mails", "email", payload(testMessage("ada@example.com")), func(s *v1alpha1.JobSchedule) { s.Spec.Schedule = "@yearly" }))
	ready(t, ns, "shop")
	lines := make([]string, mails)
	for i := range lines {
		to := fmt.Sprintf("buyer-%d@example.com", i)
		if i < refused {
			to = fmt.Sprintf("refused-%d@example.com", i)
		}
		lines[i] = jsonOf(t, testMessage(to))
	}
	enqueueAll(t, ns, "mails", lines)

	for i := range kills {
		var workers corev1.PodList
		eventually(t, patience, "a worker", func() error { // the Deployment may still count one that is gone
			if err := cluster.List(t.Context(), &workers, client.InNamespace(ns), podsOf("worker")); err != nil || len(workers.Items) > 0 {
				return err
			}
			return errors.New("there is none")
		})
		victims := workers.Items[i%len(workers.Items) : i%len(workers.Items)+1]
		if i == kills/2 {
			var postgres corev1.PodList
			if err := cluster.List(t.Context(), &postgres, client.InNamespace(ns), podsOf("postgres")); err != nil {
				t.Fatal(err)
			}
			victims = append(victims, postgres.Items...)
		}
		for j := range victims {
			if err := cluster.Delete(t.Context(), &victims[j], client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, patience, "two workers", func() error {
			if n := read(t, ns, "shop-worker", &appsv1.Deployment{}).Status.ReadyReplicas; n != 2 {
				return fmt.Errorf("%d are ready", n)
			}
			return nil
		})
	}

	shopper := shop(t, ns, "shop")
	staff := shopper.api(bearer(shopper.adminKey())...)
	var jobs []commerce.Job
	eventually(t, patience, "every mail is sent or dead", func() error {
		queues := ok[commerce.JobQueueList](t)(staff.ListJobQueuesWithResponse(t.Context()))
		for _, state := range []commerce.JobState{commerce.JobStateRetryable, commerce.JobStateScheduled, commerce.JobStateRunning, commerce.JobStateAvailable} {
			if left := ok[commerce.JobPage](t)(staff.ListJobsWithResponse(t.Context(), &commerce.ListJobsParams{Kind: ptr("email"), State: &state, Limit: ptr(1)})).Jobs; len(left) > 0 {
				<-time.After(2 * time.Second) // staff may ask a thousand times a minute
				return fmt.Errorf("some are %s; %s", state, jsonOf(t, queues.Queues))
			}
		}
		return nil
	})
	for cursor := (*string)(nil); ; {
		page := ok[commerce.JobPage](t)(staff.ListJobsWithResponse(t.Context(), &commerce.ListJobsParams{Kind: ptr("email"), Limit: ptr(100), Cursor: cursor}))
		jobs = append(jobs, page.Jobs...)
		if cursor = page.NextCursor; cursor == nil {
			break
		}
	}
	arrived := map[string]int{}
	for _, m := range mailsIn(t, box) {
		arrived[m.To[0]]++
	}
	var completed, turnedDown, unknown, delivered int
	for _, job := range jobs {
		var m struct{ To string }
		if err := json.Unmarshal(jsonBytes(t, job.Payload), &m); err != nil {
			t.Fatal(err)
		}
		reason := ""
		if n := len(job.Failures); n > 0 {
			reason = job.Failures[n-1].Error
		}
		switch {
		case job.State == commerce.JobStateCompleted && arrived[m.To] == 1:
			completed++
		case job.State == commerce.JobStateDead && strings.HasPrefix(m.To, "refused") && arrived[m.To] == 0 && strings.Contains(reason, "no such mailbox here"):
			turnedDown++
		case job.State == commerce.JobStateDead && arrived[m.To] <= 1 && strings.Contains(reason, "may have been delivered"):
			unknown++
			delivered += arrived[m.To]
		default:
			t.Errorf("the mail to %s is %s, arrived %d times: %s", m.To, job.State, arrived[m.To], reason)
		}
	}
	t.Logf("%d sent once, %d refused, %d dead letters of which nobody knows (%d of them arrived, once)", completed, turnedDown, unknown, delivered)
	// What is in doubt was in hand at a kill, and a kill has no more in hand than
	// the killed worker's connections.
	if unknown > kills*50 || completed+delivered < mails-refused-unknown {
		t.Errorf("too many are in doubt: %d", unknown)
	}
	if len(jobs) != mails || turnedDown != refused {
		t.Errorf("%d jobs, %d refused", len(jobs), turnedDown)
	}
}

// enqueueAll has a pod of a schedule enqueue a job for each line.
func enqueueAll(t *testing.T, ns, schedule string, lines []string, flags ...string) (at time.Time) {
	t.Helper()
	create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "payloads"}, Data: map[string]string{"lines": strings.Join(lines, "\n")}})
	jobFrom(t, ns, schedule, "flood", func(pod *corev1.PodSpec) {
		c := &pod.Containers[0]
		c.Args = append([]string{"enqueue", "email", "--payloads", "/payloads/lines", "--config", "/etc/gocart/config/config.yaml"}, flags...)
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "payloads", MountPath: "/payloads"})
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "payloads", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "payloads"}},
		}})
	})
	return jobDone(t, ns, "flood")
}

// arrival is a mail that the mailbox took.
type arrival struct{ To []string }

func mailsIn(t *testing.T, url string) (all []arrival) {
	t.Helper()
	response, err := http.Get(url + "/mails")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

func jsonBytes(t *testing.T, v any) []byte { return []byte(jsonOf(t, v)) }
