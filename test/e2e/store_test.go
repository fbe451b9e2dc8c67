//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func TestAppliedStoreServesHTTPSWithACertificateOfTheACMEServer(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", byDNS))
	s := ready(t, ns, "shop")

	if s.Status.URL != "https://"+domain(ns, "shop") {
		t.Errorf("status.url is %s", s.Status.URL)
	}
	if s.Status.Certificate == nil || s.Status.Certificate.NotAfter == nil || s.Status.Certificate.RenewalTime == nil {
		t.Errorf("status.certificate lacks expiry or renewal: %+v", s.Status.Certificate)
	}
	if s.Status.API == nil || s.Status.API.Ready != "1/1" || s.Status.Worker == nil || s.Status.Worker.Ready != "1/1" {
		t.Errorf("status counts api %+v and worker %+v", s.Status.API, s.Status.Worker)
	}
	eventually(t, 2*time.Minute, "the servers' versions in status", func() error {
		s := read(t, ns, "shop", &v1alpha1.Store{})
		if s.Status.Database == nil || s.Status.Database.Version == "" || s.Status.Redis == nil || s.Status.Redis.Version == "" {
			return fmt.Errorf("database %v, redis %v", s.Status.Database, s.Status.Redis)
		}
		return nil
	})

	web := shop(t, ns, "shop")
	resp, _, err := web.get("/api/health")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 || resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("answered %s over %s with TLS %x", resp.Status, resp.Proto, resp.TLS.Version)
	}
	for header, want := range map[string]string{
		"Strict-Transport-Security": "max-age=31536000; includeSubDomains",
		"Content-Security-Policy":   "default-src 'self'",
		"X-Frame-Options":           "DENY",
		"X-Content-Type-Options":    "nosniff",
		"Referrer-Policy":           "strict-origin-when-cross-origin",
	} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s is %q, not %q", header, got, want)
		}
	}
	t.Run("and refuses TLS 1.2", func(t *testing.T) {
		conn, err := dialService(t, ns, "shop", "443")(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		old := tls.Client(conn, &tls.Config{RootCAs: acmeCAs, ServerName: domain(ns, "shop"), MaxVersion: tls.VersionTLS12})
		if err := old.HandshakeContext(t.Context()); err == nil {
			t.Error("a handshake with TLS 1.2 succeeded")
		}
	})
	t.Run("and redirects plain HTTP", func(t *testing.T) {
		plain := shop(t, ns, "shop")
		plain.base = "http://" + domain(ns, "shop")
		plain.client.Transport = &http.Transport{DialContext: dialService(t, ns, "shop", "80")}
		resp, _, err := plain.get("/products?q=cup")
		if err != nil {
			t.Fatal(err)
		}
		if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || to != "https://"+domain(ns, "shop")+"/products?q=cup" {
			t.Errorf("answered %s to %s", resp.Status, to)
		}
		if resp.Header.Get("Strict-Transport-Security") != "" {
			t.Error("HSTS was sent over plain HTTP")
		}
	})
	t.Run("and is scaled by the scale subresource", func(t *testing.T) {
		two := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":2}}`))
		if err := cluster.SubResource("scale").Patch(t.Context(), newStore(ns, "shop"), two); err != nil {
			t.Fatal(err)
		}
		ready(t, ns, "shop")
		if got := read(t, ns, "shop", &v1alpha1.Store{}).Status.API.Ready; got != "2/2" {
			t.Errorf("api pods are %s", got)
		}
	})
}

func TestAcknowledgedDataSurvivesKilledPods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	unlimited(t, ns)
	create(t, newStore(ns, "shop", plainHTTP))
	ready(t, ns, "shop")
	web := shop(t, ns, "shop")
	web.answers()
	key := web.adminKey()

	// A writer goes on while each server is killed: first its process, so that its
	// container starts again, then its pod, without grace.
	var acknowledged []string
	write := func(slug string) {
		if code, err := web.addProduct(key, slug); err == nil && code == http.StatusCreated {
			acknowledged = append(acknowledged, slug)
		}
	}
	for i := range 20 {
		write(fmt.Sprintf("before-%d", i))
	}
	if len(acknowledged) != 20 {
		t.Fatalf("only %d of 20 products were acknowledged before the kill", len(acknowledged))
	}
	for _, component := range []string{"postgres", "redis", "api"} {
		kill(t, ns, component)
		for i := range 10 {
			write(fmt.Sprintf("during-%s-%d", component, i))
		}
	}
	eventually(t, 2*time.Minute, "the killed containers run again", func() error { return restarted(t, ns) })
	for _, component := range []string{"postgres", "redis", "api"} {
		err := cluster.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(ns), podsOf(component), client.GracePeriodSeconds(0))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			write(fmt.Sprintf("gone-%s-%d", component, i))
		}
	}
	ready(t, ns, "shop")
	eventually(t, 2*time.Minute, "writing works again", func() error {
		code, err := web.addProduct(key, "after")
		if err != nil || code != http.StatusCreated {
			return fmt.Errorf("%d %w", code, err)
		}
		return nil
	})
	for _, slug := range append(acknowledged, "after") {
		if err := web.has(slug); err != nil {
			t.Errorf("an acknowledged product is lost: %v", err)
		}
	}
}

func podsOf(component string) client.MatchingLabels {
	return client.MatchingLabels{"app.kubernetes.io/instance": "shop", "app.kubernetes.io/component": component}
}

// kill sends SIGKILL to every process of a component's containers.
func kill(t *testing.T, ns, component string) {
	t.Helper()
	var pods corev1.PodList
	if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), podsOf(component)); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Fatalf("there is no %s pod to kill", component)
	}
	for _, p := range pods.Items {
		signal(t, p, syscall.SIGKILL)
	}
}

// signal sends a signal to every process of a pod's container. The native
// cluster's are processes of this machine, in a cgroup that names their pod.
func signal(t *testing.T, p corev1.Pod, s syscall.Signal) {
	t.Helper()
	_, container, _ := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, group := range groups {
		raw, err := os.ReadFile(group)
		if err != nil || !bytes.Contains(raw, []byte(container)) {
			continue // It has ended meanwhile, or is somebody else's.
		}
		pid, err := strconv.Atoi(strings.Split(group, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Kill(pid, s) == nil {
			sent++
		}
	}
	if sent == 0 {
		t.Fatalf("no process of pod %s was found", p.Name)
	}
}

// restarted: each killed container was started again in its pod and is ready.
func restarted(t *testing.T, ns string) error {
	for _, component := range []string{"postgres", "redis", "api"} {
		var pods corev1.PodList
		if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), podsOf(component)); err != nil {
			return err
		}
		for _, p := range pods.Items {
			if c := p.Status.ContainerStatuses[0]; c.RestartCount == 0 || !c.Ready {
				return fmt.Errorf("%s was restarted %d times, ready: %v", p.Name, c.RestartCount, c.Ready)
			}
		}
	}
	return nil
}

func runtimeImage(repository, tag string) func(*v1alpha1.Store) {
	return func(s *v1alpha1.Store) { s.Spec.Image = &v1alpha1.ImageSpec{Repository: repository, Tag: tag} }
}

func TestChangedImageMigratesBeforeAnyPodRunsIt(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", plainHTTP))
	first := ready(t, ns, "shop").Status.Image.Current

	patchStore(t, ns, "shop", runtimeImage("docker.io/library/gocart-runtime", "next"))
	const next = "docker.io/library/gocart-runtime:next"
	eventually(t, patience, "the new image serves", func() error {
		d := read(t, ns, "shop-api", &appsv1.Deployment{})
		image := d.Spec.Template.Spec.Containers[0].Image
		if image == next {
			if !migrationOf(t, ns, next) {
				t.Fatal("the Deployment got the image before its migration was complete")
			}
			return nil
		}
		if image != first {
			t.Fatalf("the Deployment runs %s", image)
		}
		return fmt.Errorf("still %s", image)
	})
	s := ready(t, ns, "shop")
	if s.Status.Image.Current != next || s.Status.Image.Migrated != next {
		t.Errorf("status.image is %+v", s.Status.Image)
	}
	shop(t, ns, "shop").answers()
}

// migrationOf tells whether a migration by that image is complete.
func migrationOf(t *testing.T, ns, image string) bool {
	t.Helper()
	var jobs batchv1.JobList
	if err := cluster.List(t.Context(), &jobs, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs.Items {
		if j.Spec.Template.Spec.Containers[0].Image == image && j.Status.Succeeded > 0 {
			return true
		}
	}
	return false
}

func TestFailedMigrationKeepsTheOldVersionServing(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	unlimited(t, ns)
	create(t, newStore(ns, "shop", plainHTTP))
	first := ready(t, ns, "shop").Status.Image.Current
	web := shop(t, ns, "shop")
	web.answers()

	patchStore(t, ns, "shop", runtimeImage("docker.io/library/gocart-runtime-badmigration", "dev"))
	s := condition(t, ns, "shop", v1alpha1.StalledCondition, func(c metav1.Condition) bool {
		resp, _, err := web.get("/api/health")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("the store stopped answering while the migration failed: %v %v", resp, err)
		}
		return c.Reason == v1alpha1.ReasonMigrationFailed
	})
	if s.Status.Image.Current != first {
		t.Errorf("status.image.current is %s, not %s", s.Status.Image.Current, first)
	}
	if d := read(t, ns, "shop-api", &appsv1.Deployment{}); d.Spec.Template.Spec.Containers[0].Image != first {
		t.Errorf("the Deployment was given %s", d.Spec.Template.Spec.Containers[0].Image)
	}
	for _, c := range s.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition && (c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, first)) {
			t.Errorf("Ready is %s: %s", c.Status, c.Message)
		}
	}
	patchStore(t, ns, "shop", func(s *v1alpha1.Store) { s.Spec.Image = nil })
	ready(t, ns, "shop")
}

func TestDriftIsPutBackAndTheEventNamesTheField(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", plainHTTP))
	ready(t, ns, "shop")

	d := read(t, ns, "shop-api", &appsv1.Deployment{})
	before := d.DeepCopy()
	d.Spec.Template.Spec.Containers[0].Args = []string{"worker"}
	if err := cluster.Patch(t.Context(), d, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the arguments are put back", func() error {
		if got := read(t, ns, "shop-api", &appsv1.Deployment{}).Spec.Template.Spec.Containers[0].Args; got[0] != "api" {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
	eventually(t, 20*time.Second, "an event names the field", func() error {
		var events eventsv1.EventList
		if err := cluster.List(t.Context(), &events, client.InNamespace(ns)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "DriftCorrected" && strings.Contains(e.Note, "args") && strings.Contains(e.Note, "Deployment shop-api") {
				return nil
			}
		}
		return fmt.Errorf("none of %d does", len(events.Items))
	})
	for _, o := range []client.Object{&corev1.Service{}, &networkingv1.NetworkPolicy{}} {
		gone := read(t, ns, "shop-api", o)
		uid := gone.GetUID()
		if err := cluster.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, fmt.Sprintf("a deleted %T is made again", o), func() error {
			if err := cluster.Get(t.Context(), types.NamespacedName{Namespace: ns, Name: "shop-api"}, o); err != nil {
				return err
			}
			if o.GetUID() == uid {
				return fmt.Errorf("it is still the old one")
			}
			return nil
		})
	}
	ready(t, ns, "shop")
	shop(t, ns, "shop").answers()
}

func TestTwoStoresInOneNamespaceStayApart(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", plainHTTP))
	create(t, newStore(ns, "shop-eu", plainHTTP))
	ready(t, ns, "shop")
	ready(t, ns, "shop-eu")
	one, other := shop(t, ns, "shop"), shop(t, ns, "shop-eu")
	one.answers()
	other.answers()
	if code, err := one.addProduct(one.adminKey(), "only-here"); err != nil || code != http.StatusCreated {
		t.Fatalf("creating a product: %d %v", code, err)
	}
	if resp, _, err := other.get("/api/v1/products/only-here"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("the other store answers %v %v for it", resp, err)
	}
	if code, err := other.addProduct(one.adminKey(), "with-a-foreign-key"); err != nil || code != http.StatusUnauthorized {
		t.Errorf("the other store answers %d %v to the first one's key", code, err)
	}
	if err := cluster.Delete(t.Context(), newStore(ns, "shop-eu")); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the other store's pods are gone", func() error { return noPods(t, ns, "shop-eu") })
	ready(t, ns, "shop")
	if err := one.has("only-here"); err != nil {
		t.Error(err)
	}
}

func noPods(t *testing.T, ns, name string) error {
	var pods corev1.PodList
	if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), client.MatchingLabels{"app.kubernetes.io/instance": name}); err != nil {
		return err
	}
	if len(pods.Items) > 0 {
		return fmt.Errorf("%d are left", len(pods.Items))
	}
	return nil
}

// leftOf names what of a store is still there, by kind.
func leftOf(t *testing.T, ns string) map[string][]string {
	t.Helper()
	left := map[string][]string{}
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &batchv1.JobList{}, &corev1.ServiceList{},
		&corev1.PodList{}, &networkingv1.NetworkPolicyList{}, &corev1.PersistentVolumeClaimList{}, &corev1.SecretList{},
	} {
		if err := cluster.List(t.Context(), list, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		kind := strings.TrimSuffix(fmt.Sprintf("%T", list)[4:], "List")
		_ = meta.EachListItem(list, func(o runtime.Object) error {
			left[kind] = append(left[kind], o.(client.Object).GetName())
			return nil
		})
	}
	return left
}

func TestDeletedStoreLeavesItsDataAndFindsItAgain(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop"))
	ready(t, ns, "shop")
	web := shop(t, ns, "shop")
	web.answers()
	if code, err := web.addProduct(web.adminKey(), "kept"); err != nil || code != http.StatusCreated {
		t.Fatalf("creating a product: %d %v", code, err)
	}
	resp, _, err := web.get("/api/health")
	if err != nil {
		t.Fatal(err)
	}
	serial := resp.TLS.PeerCertificates[0].SerialNumber

	if err := cluster.Delete(t.Context(), newStore(ns, "shop")); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "only data, passwords and the certificate are left", func() error {
		for kind, names := range leftOf(t, ns) {
			if kind != "PersistentVolumeClaim" && kind != "Secret" {
				return fmt.Errorf("%s %v", kind, names)
			}
		}
		return nil
	})
	create(t, newStore(ns, "shop"))
	ready(t, ns, "shop")
	web = shop(t, ns, "shop")
	web.answers()
	if err := web.has("kept"); err != nil {
		t.Errorf("the data is not found again: %v", err)
	}
	resp, _, err = web.get("/api/health")
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.TLS.PeerCertificates[0].SerialNumber; got.Cmp(serial) != 0 {
		t.Errorf("a new certificate was issued: %x, not %x", got, serial)
	}
}

func TestDeletedStoreWithPolicyDeleteLeavesNothingButItsCertificate(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", func(s *v1alpha1.Store) { s.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete }))
	ready(t, ns, "shop")
	if err := cluster.Delete(t.Context(), newStore(ns, "shop")); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "nothing is left but the certificate", func() error {
		err := cluster.Get(t.Context(), types.NamespacedName{Namespace: ns, Name: "shop"}, &v1alpha1.Store{})
		if !apierrors.IsNotFound(err) {
			return errors.New("the Store is still there")
		}
		left := leftOf(t, ns)
		secrets := left["Secret"]
		delete(left, "Secret")
		if len(left) > 0 || len(secrets) != 1 || secrets[0] != "shop-tls" {
			return fmt.Errorf("%v and Secrets %v", left, secrets)
		}
		return nil
	})
}

func TestPausedStoreIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", plainHTTP))
	ready(t, ns, "shop")
	patchStore(t, ns, "shop", func(s *v1alpha1.Store) {
		s.Spec.Paused = true
		s.Spec.API.Replicas = ptr(int32(3))
	})
	condition(t, ns, "shop", v1alpha1.ReadyCondition, func(c metav1.Condition) bool { return c.Reason == v1alpha1.ReasonPaused })
	if err := cluster.Delete(t.Context(), read(t, ns, "shop-worker", &networkingv1.NetworkPolicy{})); err != nil {
		t.Fatal(err)
	}
	shop(t, ns, "shop").answers()
	if got := *read(t, ns, "shop-api", &appsv1.Deployment{}).Spec.Replicas; got != 1 {
		t.Errorf("a paused store was scaled to %d", got)
	}
	if err := cluster.Get(t.Context(), types.NamespacedName{Namespace: ns, Name: "shop-worker"}, &networkingv1.NetworkPolicy{}); !apierrors.IsNotFound(err) {
		t.Errorf("a paused store's NetworkPolicy was made again: %v", err)
	}
	patchStore(t, ns, "shop", func(s *v1alpha1.Store) { s.Spec.Paused = false })
	ready(t, ns, "shop")
	if got := *read(t, ns, "shop-api", &appsv1.Deployment{}).Spec.Replicas; got != 3 {
		t.Errorf("after the pause there are %d replicas, not 3", got)
	}
}
