package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func TestASteadyReconcileAsksTheAPIServerNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", issued+`
api: {autoscaling: {minReplicas: 2, maxReplicas: 4}}
worker: {replicas: 2}
exposure: {ingress: {className: haproxy}}
security: {trustedProxies: [10.0.0.0/8], cors: {allowedOrigins: ["https://a.example.com"]}}
observability: {serviceMonitor: {}}`)
	w.untilReady("shop")
	w.quiet("shop")
	before := len(w.operator.requests.about(w.namespace))
	for range 10 {
		w.nudge("shop")
	}
	if sent := w.operator.requests.about(w.namespace)[before:]; len(sent) > 0 {
		t.Errorf("ten reconciles of a steady Store sent %v", sent)
	}
}

func TestDriftIsPutBackWithinASecondAndTheEventNamesTheField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"api: {replicas: 2}")
	w.untilReady("shop")
	w.quiet("shop")
	for _, drift := range []struct {
		name, edit, field string
		object            client.Object
		list              client.ObjectList
		mended            func(client.Object) bool
	}{
		{"the image", `{spec: {template: {spec: {containers: [{name: api, image: "evil:1"}]}}}}`, "spec.template.spec.containers[api]", &appsv1.Deployment{}, &appsv1.DeploymentList{}, func(o client.Object) bool {
			return o.(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Image == release.Runtime
		}},
		{"the replicas", `{spec: {replicas: 9}}`, "spec.replicas", &appsv1.Deployment{}, &appsv1.DeploymentList{}, func(o client.Object) bool {
			return *o.(*appsv1.Deployment).Spec.Replicas == 2
		}},
		{"a label", `{metadata: {labels: {app.kubernetes.io/part-of: null}}}`, "metadata.labels", &corev1.Service{}, &corev1.ServiceList{}, func(o client.Object) bool {
			return o.GetLabels()["app.kubernetes.io/part-of"] == "gocart"
		}},
		{"a further selector", `{spec: {selector: {canary: "true"}}}`, "spec.selector", &corev1.Service{}, &corev1.ServiceList{}, func(o client.Object) bool {
			return len(o.(*corev1.Service).Spec.Selector) == 3
		}},
		{"a wider network policy", `{spec: {ingress: [{}]}}`, "spec.ingress", &networkingv1.NetworkPolicy{}, &networkingv1.NetworkPolicyList{}, func(o client.Object) bool {
			return len(o.(*networkingv1.NetworkPolicy).Spec.Ingress) == 2
		}},
	} {
		t.Run(drift.name, func(t *testing.T) {
			w := *w
			w.t = t
			w.patchStrategic(drift.object, "shop-api", drift.edit)
			began := time.Now()
			w.eventually(drift.name+" to be put back", func() error {
				if err := w.get("shop-api", drift.object); err != nil {
					return err
				}
				if !drift.mended(drift.object) {
					return fmt.Errorf("it is not")
				}
				return nil
			})
			// A second is the promise; the test's machine may be busy with a dozen others.
			if took := time.Since(began); took > time.Second {
				t.Logf("it took %s", took)
			}
			w.untilEvent("DriftCorrected", drift.field, "shop-api")
			w.quiet("shop")
		})
	}
	w.untilReady("shop")
}

func TestADeletedChildIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	for name, o := range map[string]client.Object{"shop-api": &corev1.Service{}, "shop-config": &corev1.ConfigMap{}, "shop-worker": &appsv1.Deployment{}, "shop-postgres": &appsv1.StatefulSet{}} {
		uid := fetch(w, name, o).GetUID()
		if err := w.client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		w.eventually(fmt.Sprintf("%T %s to be made anew", o, name), func() error {
			if err := w.get(name, o); err != nil {
				return err
			}
			if o.GetUID() == uid {
				return fmt.Errorf("it is the old one")
			}
			return nil
		})
	}
	w.untilReady("shop")
}

func TestAStatusThatIsGoneAgainBeforeTheCacheTellsOfItIsTakenBack(t *testing.T) {
	t.Parallel()
	w, late := privateWorld(t), &lag{}
	grant(t, w.namespace+"-operator", w.namespace)
	w.startLagging(release, late)
	w.create("shop", withoutTLS)
	late.store.Store(w.untilReady("shop"))
	w.machines.hold("StatefulSet")
	if err := w.client.Delete(t.Context(), fetch(w, "shop-postgres", &appsv1.StatefulSet{})); err != nil {
		t.Fatal(err)
	}
	w.until("shop", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	w.machines.resume(t, "StatefulSet")
	result, err := w.operator.reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: w.namespace, Name: "shop"}})
	if err != nil || result.RequeueAfter == 0 || result.RequeueAfter > time.Second {
		t.Errorf("a Store that the cache tells of as it was is looked at again after %s, %v", result.RequeueAfter, err)
	}
	late.store.Store(nil)
	w.untilReady("shop")
}

func TestABrokenStoreIsNotReconciledInAHotLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"database: {external: {uriSecretRef: {name: nowhere, key: uri}}}")
	w.stalls("shop", v1alpha1.ReasonSecretNotFound)
	// Whatever was on its way ends; then two steady Stores' worth of time passes
	// by the clock of another Store's life, and the broken one is left in peace.
	w.quiet("shop")
	before, asked := w.reconciled("shop"), len(w.operator.requests.about(w.namespace))
	other := newWorld(t)
	other.create("other", withoutTLS)
	other.untilReady("other")
	other.quiet("other")
	if n := w.reconciled("shop") - before; n > 2 {
		t.Errorf("a Store that waits for a person was reconciled %d times meanwhile", n)
	}
	if sent := w.operator.requests.about(w.namespace)[asked:]; len(sent) > 0 {
		t.Errorf("and asked %v", sent)
	}
}

func TestAnImageChangeMigratesBeforeAnyPodRunsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+`image: {tag: "1.0.0"}`)
	w.untilReady("shop")
	w.machines.hold("Job")
	seen, err := w.client.Watch(t.Context(), &appsv1.DeploymentList{}, client.InNamespace(w.namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Stop()
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Image.Tag = "2.0.0" })
	s := w.until("shop", v1alpha1.MigrationSucceededCondition, metav1.ConditionFalse, v1alpha1.ReasonMigrationRunning)
	if s.Status.Image.Current != "gocart-runtime:1.0.0" {
		t.Errorf("during the migration status tells of %s", s.Status.Image.Current)
	}
	w.nudge("shop")
	w.nudge("shop")
	for drained := false; !drained; {
		select {
		case e := <-seen.ResultChan():
			if d, ok := e.Object.(*appsv1.Deployment); ok && e.Type == watch.Modified && d.Spec.Template.Spec.Containers[0].Image != "gocart-runtime:1.0.0" {
				t.Errorf("%s runs %s before the migration", d.Name, d.Spec.Template.Spec.Containers[0].Image)
			}
		default:
			drained = true
		}
	}
	w.machines.resume(t, "Job")
	if s := w.untilReady("shop"); s.Status.Image.Current != "gocart-runtime:2.0.0" || s.Status.Image.Migrated != "gocart-runtime:2.0.0" {
		t.Errorf("images are %+v", s.Status.Image)
	}
}

func TestNothingOfASecretIsToldAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const password = "s3cr3t-Tr0ub4dor"
	w.secret("database", map[string]string{"uri": "postgresql://u:" + password + "@db.example.com/shop"})
	w.create("shop", withoutTLS+"database: {external: {uriSecretRef: {name: database, key: uri}}}")
	w.untilReady("shop")
	w.patch(&corev1.Secret{}, "database", `{stringData: {uri: ""}}`)
	w.stalls("shop", v1alpha1.ReasonSecretInvalid)

	words := []string{password}
	for _, name := range []string{"shop-credentials", "shop-redis"} {
		for key, value := range fetch(w, name, &corev1.Secret{}).Data {
			if key == "adminKey" || key == "tokenKey" || key == "password" {
				words = append(words, string(value))
			}
		}
	}
	if len(words) != 4 {
		t.Fatalf("%d secrets to look for", len(words))
	}
	said := strings.Join(w.operator.log.with(w.namespace), "\n") + strings.Join(w.events(), "\n") + told(w.store("shop"))
	for _, list := range childLists() {
		if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
		said += fmt.Sprintf("%+v", list)
	}
	for _, word := range words {
		if strings.Contains(said, word) {
			t.Errorf("a secret is told: %q", said[strings.Index(said, word)-80:strings.Index(said, word)])
		}
	}
}
