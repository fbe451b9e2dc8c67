package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/status"
)

func TestAMissingSecretIsNamedAndLookedForNoMoreOnceThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec, condition string
		data            map[string]string
	}{
		"database": {withoutTLS + "database: {external: {uriSecretRef: {name: mine, key: connection}}}", v1alpha1.DatabaseReadyCondition, map[string]string{"connection": "postgresql://u:p@db.example.com/shop"}},
		"redis":    {withoutTLS + "redis: {external: {urlSecretRef: {name: mine, key: address}}}", v1alpha1.RedisReadyCondition, map[string]string{"address": "redis://u:p@redis.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.create("shop", c.spec)
			w.stalls("shop", v1alpha1.ReasonSecretNotFound, w.namespace+"/mine", "create it")
			w.until("shop", c.condition, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
			w.secret("mine", map[string]string{"wrong": "x"})
			for key := range c.data {
				w.stalls("shop", v1alpha1.ReasonSecretInvalid, w.namespace+"/mine", key)
			}
			w.patch(&corev1.Secret{}, "mine", fmt.Sprintf("{stringData: {%s: %q}}", first(c.data), c.data[first(c.data)]))
			w.untilReady("shop")
		})
	}
}

func TestAMissingMailSecretIsNamedAndOneThatChangesRollsThePods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"mail: {urlSecretRef: {name: smtp, key: url}, from: shop@example.com}")
	w.stalls("shop", v1alpha1.ReasonSecretNotFound, w.namespace+"/smtp", `with the key "url"`)
	w.until("shop", v1alpha1.WorkloadsAvailableCondition, metav1.ConditionFalse, v1alpha1.ReasonWaiting)
	w.secret("smtp", map[string]string{"url": "smtp://mail.example.com:587"})
	w.untilReady("shop")
	held := func() string {
		return fmt.Sprint(fetch(w, "shop-worker", &appsv1.Deployment{}).Spec.Template.Annotations)
	}
	before := held()
	w.patch(&corev1.Secret{}, "smtp", `{stringData: {url: "smtps://mail.example.com:465"}}`)
	w.eventually("the pods to be rolled", func() error {
		if held() == before {
			return errors.New("their template is as it was")
		}
		return nil
	})
}

func TestAMissingSecretOfStripeIsNamedAndOneThatChangesRollsThePods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"payments: {stripe: {apiKeySecretRef: {name: stripe, key: apiKey}, webhookSecretRefs: [{name: stripe, key: webhookSecret}]}}")
	w.stalls("shop", v1alpha1.ReasonSecretNotFound, w.namespace+"/stripe", `with the key "apiKey"`)
	w.until("shop", v1alpha1.WorkloadsAvailableCondition, metav1.ConditionFalse, v1alpha1.ReasonWaiting)
	w.secret("stripe", map[string]string{"apiKey": "sk_test_SECRET"})
	w.stalls("shop", v1alpha1.ReasonSecretInvalid, w.namespace+"/stripe", `"webhookSecret"`)
	w.patch(&corev1.Secret{}, "stripe", `{stringData: {webhookSecret: whsec_SECRET}}`)
	w.untilReady("shop")
	held := func() string {
		return fmt.Sprint(fetch(w, "shop-api", &appsv1.Deployment{}).Spec.Template.Annotations)
	}
	before := held()
	w.patch(&corev1.Secret{}, "stripe", `{stringData: {webhookSecret: whsec_OTHERSECRET}}`)
	w.eventually("the pods to be rolled", func() error {
		if held() == before {
			return errors.New("their template is as it was")
		}
		return nil
	})
	if text := fmt.Sprint(fetch(w, "shop-config", &corev1.ConfigMap{}).Data, fetch(w, "shop-api", &appsv1.Deployment{}).Spec, fetch(w, "shop", &v1alpha1.Store{}).Status); strings.Contains(text, "SECRET") {
		t.Errorf("a secret is told: %s", text)
	}
}

func TestReportsAreKeptOnAVolumeOfTheirOwnAndOnNobodyElses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := plan.Reports(&v1alpha1.Store{
		ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: w.namespace}, Spec: v1alpha1.StoreSpec{Reports: &v1alpha1.ReportsSpec{}},
	})
	foreign.Labels = nil
	if err := w.client.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	w.create("other", withoutTLS+"reports: {volume: {}}")
	w.stalls("other", v1alpha1.ReasonNameTaken, "PersistentVolumeClaim other-reports")
	w.create("shop", withoutTLS+"reports: {volume: {size: 2Gi}}")
	w.untilReady("shop")
	claim := fetch(w, "shop-reports", &corev1.PersistentVolumeClaim{})
	if size := claim.Spec.Resources.Requests[corev1.ResourceStorage]; size.String() != "2Gi" || len(claim.OwnerReferences) != 0 {
		t.Errorf("the claim asks for %s and is owned by %v", size.String(), claim.OwnerReferences)
	}
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Reports = nil })
	w.untilReady("shop")
	w.quiet("shop")
	if left := fetch(w, "shop-reports", &corev1.PersistentVolumeClaim{}); !left.DeletionTimestamp.IsZero() {
		t.Error("the reports went with the field")
	}
}

func TestAVanishedDatabaseSecretTakesNoFinishedMigrationWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := map[string]string{"uri": "postgresql://u:p@db.example.com/shop"}
	w.secret("database", data)
	w.create("shop", withoutTLS+`
database: {external: {uriSecretRef: {name: database, key: uri}}}`)
	w.untilReady("shop")
	finished := w.job("shop").UID
	if err := w.client.Delete(t.Context(), fetch(w, "database", &corev1.Secret{})); err != nil {
		t.Fatal(err)
	}
	w.stalls("shop", v1alpha1.ReasonSecretNotFound, "database")
	w.secret("database", data)
	w.untilReady("shop")
	if w.job("shop").UID != finished {
		t.Error("the migration ran again although its Secret came back as it was")
	}
}

func TestAnOwnCertificateIsLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", "domains: [shop.example.com]\ntls: {secretName: mine}")
	w.stalls("shop", v1alpha1.ReasonSecretNotFound, w.namespace+"/mine", "kubectl create secret tls")
	w.secret("mine", map[string]string{"tls.crt": "not a certificate", "tls.key": "x"})
	w.stalls("shop", v1alpha1.ReasonSecretInvalid, "tls.crt")
	give := func(notAfter time.Time, host string) pair {
		t.Helper()
		made, err := selfSigned(notAfter, host)
		if err != nil {
			t.Fatal(err)
		}
		w.patch(&corev1.Secret{}, "mine", fmt.Sprintf("{stringData: {tls.crt: %q, tls.key: %q}}", made.crt, made.key))
		return made
	}
	give(time.Now().Add(-time.Hour), "shop.example.com")
	w.stalls("shop", v1alpha1.ReasonExpired, "expired at")
	give(time.Now().Add(time.Hour), "other.example.com")
	w.stalls("shop", v1alpha1.ReasonSecretInvalid, "not for shop.example.com")
	good := give(time.Now().Add(time.Hour), "shop.example.com")
	s := w.untilReady("shop")
	if got := s.Status.Certificate.NotAfter; !got.Time.Equal(good.notAfter) {
		t.Errorf("the certificate's end is %s, want %s", got, good.notAfter)
	}
}

func TestAKeyOfAnotherCertificateIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	other, err := selfSigned(time.Now().Add(time.Hour), "shop.example.com")
	if err != nil {
		t.Fatal(err)
	}
	w.secret("mine", map[string]string{"tls.crt": string(one.crt), "tls.key": string(other.key)})
	w.create("shop", "domains: [shop.example.com]\ntls: {secretName: mine}")
	w.stalls("shop", v1alpha1.ReasonSecretInvalid, "tls.key", "is not the key")
}

func TestWhatAnEarlierSpecWantedIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.secret("cache", map[string]string{"url": "redis://u:p@redis.example.com"})
	w.create("shop", withoutTLS+"redis: {managed: {}}")
	w.untilReady("shop")
	w.change("shop", func(s *v1alpha1.Store) {
		s.Spec.Redis = v1alpha1.RedisSpec{External: &v1alpha1.ExternalRedisSpec{URLSecretRef: v1alpha1.SecretKey{Name: "cache", Key: "url"}}}
	})
	w.untilReady("shop")
	for _, o := range []client.Object{&appsv1.StatefulSet{}, &corev1.Service{}, &networkingv1.NetworkPolicy{}} {
		w.untilGone("shop-redis", o)
	}
}

func TestALostRedisPasswordIsReplacedAndRedisStartedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	before := fetch(w, "shop-redis", &appsv1.StatefulSet{}).Spec.Template.Annotations
	if err := w.client.Delete(t.Context(), fetch(w, "shop-redis", &corev1.Secret{})); err != nil {
		t.Fatal(err)
	}
	w.eventually("Redis to be started anew with the new password", func() error {
		if reflect.DeepEqual(fetch(w, "shop-redis", &appsv1.StatefulSet{}).Spec.Template.Annotations, before) {
			return errors.New("its pod template is as before")
		}
		return nil
	})
	w.untilReady("shop")
}

func TestAnIssuerThatRefusesIsQuoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.machines.hold("Certificate")
	w.create("shop", issued)
	w.until("shop", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuing)
	c := fetch(w, "shop-tls", &certmanagerv1.Certificate{})
	before := c.DeepCopy()
	c.Status.Conditions = []certmanagerv1.CertificateCondition{{
		Type: certmanagerv1.CertificateConditionIssuing, Status: cmmeta.ConditionFalse, Reason: "Failed",
		Message: "The certificate request has failed: acme: urn:ietf:params:acme:error:rateLimited", LastTransitionTime: &metav1.Time{Time: time.Now()},
	}}
	if err := w.client.Status().Patch(t.Context(), c, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	s := w.until("shop", v1alpha1.CertificateReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssueFailed)
	ready := s.Status.Conditions[0]
	if ready.Reason != v1alpha1.ReasonIssueFailed || !strings.Contains(ready.Message, "rateLimited") || !strings.Contains(ready.Message, "Issuer corporate") {
		t.Errorf("Ready is %+v", ready)
	}
}

func TestALostPasswordIsNotReplacedByOneThatOpensNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: plan.PostgresClaim("shop"), Namespace: w.namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	if err := w.client.Create(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	w.create("shop", withoutTLS)
	w.stalls("shop", v1alpha1.ReasonCredentialsLost, "data-shop-postgres-0", "Secret shop-postgres", "restore")
	if err := w.get("shop-postgres", &corev1.Secret{}); err == nil {
		t.Error("a new password was made")
	}
}

func TestAForeignObjectIsLeftAloneAndNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "shop-api", Namespace: w.namespace}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}}}
	if err := w.client.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	w.secret("other-credentials", map[string]string{"adminKey": "theirs"})
	w.create("shop", withoutTLS)
	w.create("other", withoutTLS)
	w.stalls("shop", v1alpha1.ReasonNameTaken, "Service shop-api")
	w.stalls("other", v1alpha1.ReasonNameTaken, "Secret other-credentials")
	if after := fetch(w, "shop-api", &corev1.Service{}); after.ResourceVersion != foreign.ResourceVersion {
		t.Error("the foreign Service was touched")
	}
}

func TestADatabaseThatRefusesIsQuotedWithTheSecretToMend(t *testing.T) {
	t.Parallel()
	for reason, terminal := range map[string]bool{"AuthenticationFailed": true, "DatabaseMissing": true, "PermissionDenied": true, "DatabaseUnreachable": false} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.secret("database", map[string]string{"uri": "postgresql://u:p@db.example.com/shop"})
			w.machines.answers(release.Runtime, status.Migration{Reason: reason, Message: "the server db.example.com said no"})
			w.create("shop", withoutTLS+"database: {external: {uriSecretRef: {name: database, key: uri}}}")
			if terminal {
				w.stalls("shop", reason, "db.example.com said no", w.namespace+"/database")
			} else {
				w.until("shop", v1alpha1.DatabaseReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonUnreachable)
			}
			if err := w.get("shop-api", &appsv1.Deployment{}); err == nil {
				t.Error("pods were started without a schema")
			}
			// The person mends the Secret, and nothing else is needed.
			w.machines.answers(release.Runtime, status.Migration{Succeeded: true, Reason: "Migrated", DatabaseVersion: "17.2"})
			if terminal {
				w.patch(&corev1.Secret{}, "database", `{stringData: {uri: "postgresql://u:right@db.example.com/shop"}}`)
			}
			w.untilReady("shop")
		})
	}
}

func TestWhatKeepsAPodFromRunningIsTold(t *testing.T) {
	t.Parallel()
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "migrate", Image: "gocart-runtime:nope",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}
	}
	for reason, s := range map[string]corev1.PodStatus{
		v1alpha1.ReasonImagePullFailed: waiting("ImagePullBackOff", "not found"),
		v1alpha1.ReasonCrashLooping:    waiting("CrashLoopBackOff", ""),
		v1alpha1.ReasonPodsNotReady:    waiting("CreateContainerConfigError", "couldn't find key"),
		v1alpha1.ReasonUnschedulable: {Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available",
		}}},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.machines.hold("Job")
			w.create("shop", withoutTLS+`image: {tag: nope}`)
			j := w.job("shop")
			p := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "migrating", Namespace: w.namespace, Labels: j.Spec.Template.Labels},
				Spec:       j.Spec.Template.Spec,
			}
			if err := w.client.Create(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if err := w.machines.podStatus(p, s); err != nil {
				t.Fatal(err)
			}
			got := w.until("shop", v1alpha1.ReadyCondition, metav1.ConditionFalse, reason)
			if !strings.Contains(got.Status.Conditions[0].Message, "migrating") {
				t.Errorf("the pod is not named: %s", got.Status.Conditions[0].Message)
			}
			if got.Status.Conditions[1].Type != v1alpha1.ReconcilingCondition {
				t.Errorf("describe does not go on with Reconciling:\n%s", told(got))
			}
		})
	}
}

// Without this, a mended pull secret or node selector would wait for the old
// Job's deadline.
func TestAMigrationThatNeverRanIsMadeAnewWhenItsSpecificationIsMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.machines.hold("Job")
	w.create("shop", withoutTLS+`image: {tag: "1.0.0"}`)
	stuck := w.job("shop")
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Image.PullSecrets = []v1alpha1.SecretName{{Name: "registry"}} })
	w.eventually("a Job with the pull secret", func() error {
		j := &batchv1.Job{}
		if err := w.get(stuck.Name, j); err != nil {
			return err
		}
		if len(j.Spec.Template.Spec.ImagePullSecrets) != 1 {
			return fmt.Errorf("it has none")
		}
		return nil
	})
	w.machines.resume(t, "Job")
	w.untilReady("shop")
}

func TestAPausedStoreIsLeftAloneAndItsStatusToldOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("new", withoutTLS+"paused: true")
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Paused = true; s.Spec.API.Replicas = ptr(int32(5)) })
	for _, name := range []string{"shop", "new"} {
		s := w.until(name, v1alpha1.ReadyCondition, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		for _, c := range []string{v1alpha1.StalledCondition, v1alpha1.ReconcilingCondition} {
			if meta.FindStatusCondition(s.Status.Conditions, c) != nil {
				t.Errorf("a paused Store is neither stalled nor on its way:\n%s", told(s))
			}
		}
	}
	w.patchStrategic(&appsv1.Deployment{}, "shop-api", `{spec: {replicas: 3}}`)
	w.eventually("the status to follow", func() error {
		if s := w.store("shop"); s.Status.API.Ready != "3/3" {
			return fmt.Errorf("api is %s", s.Status.API.Ready)
		}
		return nil
	})
	for _, r := range w.operator.requests.about(w.namespace) {
		if r.method != "GET" && strings.Contains(r.path, "/new-") {
			t.Errorf("something was made for a Store that was paused from the start: %s", r)
		}
	}
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Paused = false })
	if s := w.untilReady("shop"); s.Status.API.Ready != "5/5" {
		t.Errorf("api is %s after the pause", s.Status.API.Ready)
	}
}

func TestDeletionKeepsOrRemovesDataAsThePolicySays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionPolicyRetain, v1alpha1.DeletionPolicyDelete} {
		name := strings.ToLower(string(policy))
		s := w.create(name, withoutTLS+"reports: {volume: {}}\ndeletionPolicy: "+string(policy))
		w.untilReady(name)
		for _, claim := range []string{plan.PostgresClaim(name), plan.RedisClaim(name)} {
			// As the StatefulSet's controller makes them.
			made := &corev1.PersistentVolumeClaim{
				ObjectMeta: metav1.ObjectMeta{Name: claim, Namespace: w.namespace, Labels: plan.Labels(name, "postgres")},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}
			if err := w.client.Create(t.Context(), made); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.client.Delete(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		w.untilGone(name, &v1alpha1.Store{})
		w.collectGarbage(s)
		left := 0
		for object, o := range map[string]client.Object{
			plan.CredentialsSecret(name): &corev1.Secret{}, plan.PostgresSecret(name): &corev1.Secret{}, plan.RedisSecret(name): &corev1.Secret{},
			plan.PostgresClaim(name): &corev1.PersistentVolumeClaim{}, plan.RedisClaim(name): &corev1.PersistentVolumeClaim{},
			plan.ReportsClaim(name): &corev1.PersistentVolumeClaim{},
		} {
			// A claim's own protection holds it until its controller, which is not here, lets go.
			if err := w.get(object, o); err == nil && o.GetDeletionTimestamp().IsZero() {
				left++
			}
		}
		if want := map[v1alpha1.DeletionPolicy]int{v1alpha1.DeletionPolicyRetain: 6}[policy]; left != want {
			t.Errorf("%s left %d of 6 Secrets and volumes, want %d", policy, left, want)
		}
		for _, list := range childLists() {
			if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace), client.MatchingLabels(plan.StoreSelector(name))); err != nil {
				t.Fatal(err)
			}
			if n := meta.LenList(list); n != 0 {
				t.Errorf("%s left %d of %T", policy, n, list)
			}
		}
	}
}

func TestAFinalizerOfSomebodyElseIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	w.change("shop", func(s *v1alpha1.Store) { s.Finalizers = append(s.Finalizers, "example.com/backup") })
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete })
	w.eventually("both finalizers", func() error {
		if f := w.store("shop").Finalizers; len(f) != 2 {
			return fmt.Errorf("there are %v", f)
		}
		return nil
	})
	if err := w.client.Delete(t.Context(), w.store("shop")); err != nil {
		t.Fatal(err)
	}
	w.eventually("our finalizer to go and the other to stay", func() error {
		if f := w.store("shop").Finalizers; len(f) != 1 || f[0] != "example.com/backup" {
			return fmt.Errorf("there are %v", f)
		}
		return nil
	})
}

func TestAStoreDeletedOnItsWayLeavesNoErrorBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, kind := range []string{"StatefulSet", "Job", "Deployment"} {
		name := fmt.Sprintf("shop-%d", i)
		w.machines.hold(kind)
		s := w.create(name, withoutTLS+"deletionPolicy: Delete")
		w.eventually("the operator to begin", func() error { return w.get(name+"-config", &corev1.ConfigMap{}) })
		if err := w.client.Delete(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		w.untilGone(name, &v1alpha1.Store{})
		w.collectGarbage(s)
		w.machines.resume(t, kind)
	}
	if panics := w.operator.log.with(w.namespace, "panic"); len(panics) > 0 {
		t.Error(strings.Join(panics, "\n"))
	}
}

func TestPodsThatLoseRedisOrTheDatabaseAreBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.secret("cache", map[string]string{"url": "redis://u:p@redis.example.com"})
	seen := allIsWell
	seen.Redis = &status.Dependency{Error: "dial tcp redis.example.com:6379: connection refused"}
	w.machines.see(t, seen)
	w.create("shop", withoutTLS+"redis: {external: {urlSecretRef: {name: cache, key: url}}}")
	s := w.until("shop", v1alpha1.RedisReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonUnreachable)
	if !strings.Contains(s.Status.Conditions[0].Message, "connection refused") {
		t.Errorf("Ready says %s", s.Status.Conditions[0].Message)
	}
	w.machines.see(t, allIsWell)
	w.nudge("shop")
	w.untilReady("shop")
}

func (w *world) job(store string) *batchv1.Job {
	w.t.Helper()
	var jobs batchv1.JobList
	w.eventually("the migration of "+store, func() error {
		if err := w.client.List(w.t.Context(), &jobs, client.InNamespace(w.namespace), client.MatchingLabels(plan.StoreSelector(store))); err != nil {
			return err
		}
		if len(jobs.Items) != 1 {
			return fmt.Errorf("there are %d Jobs", len(jobs.Items))
		}
		return nil
	})
	return &jobs.Items[0]
}

func first(m map[string]string) string {
	for k := range m {
		return k
	}
	return ""
}

func TestAStoreWithoutPodsIsReadyThoughNobodyCanAskItsRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.secret("cache", map[string]string{"url": "redis://u:p@redis.example.com"})
	w.create("shop", withoutTLS+"redis: {external: {urlSecretRef: {name: cache, key: url}}}\napi: {replicas: 0}\nworker: {replicas: 0}")
	s := w.untilReady("shop")
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.RedisReadyCondition); c != nil {
		t.Errorf("nobody knows of Redis, and yet %+v", c)
	}
}

func TestAStoreThatMayAskForMoreConnectionsThanThereAreIsToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	told := func(connections status.Connections) status.Status {
		seen := allIsWell
		seen.Database.Connections = &connections
		return seen
	}
	w.machines.see(t, told(status.Connections{Server: 40, Pool: 10}))
	w.create("shop", withoutTLS+"database: {managed: {}, maxConnections: 10}")
	s := w.until("shop", v1alpha1.ConnectionsScarceCondition, metav1.ConditionTrue, v1alpha1.ReasonAboveServer)
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConnectionsScarceCondition); !strings.Contains(c.Message, "up to 6 processes with 10 connections each may ask for 60, and the database takes 40") {
		t.Error(c.Message)
	}
	w.untilReady("shop") // it is advice
	w.machines.see(t, told(status.Connections{Server: 97, Pool: 10, Waited: .3, WaitMilliseconds: 50}))
	w.nudge("shop")
	w.until("shop", v1alpha1.ConnectionsScarceCondition, metav1.ConditionTrue, v1alpha1.ReasonLongWaits)
	w.machines.see(t, told(status.Connections{Server: 97, Pool: 10, Waited: .3, WaitMilliseconds: 5}))
	w.nudge("shop")
	w.eventually("the advice to go", func() error {
		if c := meta.FindStatusCondition(w.store("shop").Status.Conditions, v1alpha1.ConnectionsScarceCondition); c != nil {
			return fmt.Errorf("it says %s", c.Message)
		}
		return nil
	})
}
