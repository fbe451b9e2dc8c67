package store_test

// What users of other operators complain of, each shown not to happen here.

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/keda"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/status"
)

func TestTwoStoresInOneNamespaceStayApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.create("shop-api", withoutTLS) // The other's Deployment is called so.
	w.untilReady("shop")
	w.untilReady("shop-api")
	w.quiet("shop")

	var services corev1.ServiceList
	var running corev1.PodList
	for _, list := range []client.ObjectList{&services, &running} {
		if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
	}
	if len(running.Items) < 4 {
		t.Fatalf("only %d pods run", len(running.Items))
	}
	for _, s := range services.Items {
		for _, p := range running.Items {
			if labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.Labels)) && p.Labels[plan.LabelInstance] != s.Labels[plan.LabelInstance] {
				t.Errorf("Service %s leads to pod %s of the other store", s.Name, p.Name)
			}
		}
	}
	if a, b := fetch(w, "shop-postgres", &corev1.Secret{}), fetch(w, "shop-api-postgres", &corev1.Secret{}); string(a.Data["password"]) == string(b.Data["password"]) {
		t.Error("both stores have one password")
	}

	before := fetch(w, "shop-api-api", &appsv1.Deployment{})
	gone := w.store("shop")
	if err := w.client.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	w.collectGarbage(gone)
	w.quiet("shop-api")
	w.untilReady("shop-api")
	if after := fetch(w, "shop-api-api", &appsv1.Deployment{}); after.UID != before.UID || after.Generation != before.Generation {
		t.Error("deleting one store changed the other")
	}
}

func TestReplicasZeroIsAValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"api: {replicas: 0}")
	s := w.until("shop", v1alpha1.WorkloadsAvailableCondition, metav1.ConditionTrue, v1alpha1.ReasonScaledToZero)
	if d := fetch(w, "shop-api", &appsv1.Deployment{}); *d.Spec.Replicas != 0 {
		t.Errorf("api has %d replicas", *d.Spec.Replicas)
	}
	if s.Status.API.Ready != "0/0" || s.Status.Worker.Ready != "1/1" {
		t.Errorf("api is %s and worker %s", s.Status.API.Ready, s.Status.Worker.Ready)
	}
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.API.Replicas = ptr(int32(3)) })
	if s := w.untilReady("shop"); s.Status.API.Ready != "3/3" {
		t.Errorf("api is %s after scaling up", s.Status.API.Ready)
	}
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.API.Replicas = ptr(int32(0)); s.Spec.Worker.Replicas = ptr(int32(0)) })
	w.until("shop", v1alpha1.WorkloadsAvailableCondition, metav1.ConditionTrue, v1alpha1.ReasonScaledToZero)
	w.untilReady("shop")
}

func TestReadyNeverSpeaksOfAGenerationNotYetReconciled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	seen, err := w.client.Watch(t.Context(), &v1alpha1.StoreList{}, client.InNamespace(w.namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Stop()
	w.machines.hold("Deployment")
	var last int64
	for i := range 5 {
		w.change("shop", func(s *v1alpha1.Store) { s.Spec.API.Replicas = ptr(int32(2 + i)); last = s.Generation + 1 })
	}
	w.until("shop", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	w.machines.resume(t, "Deployment")
	w.untilReady("shop")
	for e := range seen.ResultChan() {
		s, ok := e.Object.(*v1alpha1.Store)
		if !ok || e.Type != watch.Modified {
			continue
		}
		ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ReadyCondition)
		if ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == s.Generation && s.Status.API.Ready != fmt.Sprintf("%d/%[1]d", *orOne(s.Spec.API.Replicas)) {
			t.Errorf("Ready of generation %d while api is %s and spec asks for %d", s.Generation, s.Status.API.Ready, *orOne(s.Spec.API.Replicas))
		}
		for _, c := range s.Status.Conditions {
			if c.ObservedGeneration > s.Generation || c.ObservedGeneration != s.Status.ObservedGeneration {
				t.Errorf("%s speaks of generation %d, status of %d, the Store is %d", c.Type, c.ObservedGeneration, s.Status.ObservedGeneration, s.Generation)
			}
		}
		if ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == last {
			return
		}
	}
}

func TestForeignSecretsAreWatchedAsMetadataOnly(t *testing.T) {
	t.Parallel()
	w := privateWorld(t)
	const count, size = 200, 50 << 10
	for i := range count {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("foreign-%d", i), Namespace: w.namespace, Annotations: map[string]string{"long": strings.Repeat("a", 1000)}},
			Data:       map[string][]byte{"blob": []byte(strings.Repeat("x", size))},
		}
		if err := w.client.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	grant(t, w.namespace+"-operator", w.namespace)
	w.start(release)
	w.create("shop", withoutTLS)
	w.untilReady("shop")

	var received int64
	for _, r := range w.operator.requests.all() {
		if !strings.Contains(r.path, "/secrets") {
			continue
		}
		received += r.received.Load()
		if strings.Contains(r.path, "/foreign-") {
			t.Errorf("the operator asked for a foreign Secret: %s", r)
		}
		if r.method == "GET" && strings.HasSuffix(r.path, "/secrets") && !strings.Contains(r.accept, "as=PartialObjectMetadata") {
			t.Errorf("Secrets are listed or watched whole: %s, Accept: %s", r, r.accept)
		}
	}
	if most := int64(count * size / 10); received > most {
		t.Errorf("the operator received %d bytes of %d Secrets with %d bytes each", received, count, size)
	}
	var cached metav1.PartialObjectMetadataList
	cached.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := w.operator.cache.List(t.Context(), &cached, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	if len(cached.Items) < count {
		t.Fatalf("%d Secrets are cached", len(cached.Items))
	}
	for _, m := range cached.Items {
		if len(m.Annotations)+len(m.ManagedFields) > 0 || strings.HasPrefix(m.Name, "foreign-") && len(m.Labels)+len(m.OwnerReferences) > 0 {
			t.Errorf("the cache keeps more than a name of Secret %s: %+v", m.Name, m.ObjectMeta)
		}
	}
}

// The operator here is a user with a Role in the one namespace and nothing else.
func TestNamespacedInstallHasNoClusterWideSecretRights(t *testing.T) {
	t.Parallel()
	w := privateWorld(t)
	user := w.namespace + "-operator"
	grant(t, user, w.namespace)
	w.start(release)
	w.secret("database", map[string]string{"uri": "postgresql://u:p@db.example.com/shop"})
	w.create("shop", issued+"database: {external: {uriSecretRef: {name: database, key: uri}}}\nexposure: {service: {type: NodePort}}")
	w.untilReady("shop")

	for _, namespace := range []string{"", "default", "kube-system"} {
		for _, verb := range []string{"get", "list", "watch", "create", "patch", "update", "delete"} {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user, Groups: []string{"system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "secrets"},
			}}
			if err := w.client.Create(t.Context(), review); err != nil {
				t.Fatal(err)
			}
			if review.Status.Allowed {
				t.Errorf("the operator may %s Secrets in namespace %q", verb, namespace)
			}
		}
	}
	for _, r := range w.operator.requests.all() {
		if strings.Contains(r.path, "/secrets") && !strings.Contains(r.path, "/namespaces/"+w.namespace+"/") {
			t.Errorf("the operator asked outside its namespace: %s", r)
		}
	}
	if denied := w.operator.log.with("forbidden"); len(denied) > 0 {
		t.Errorf("something was forbidden:\n%s", strings.Join(denied, "\n"))
	}
}

func TestOperatorUpgradeRollsNoPod(t *testing.T) {
	t.Parallel()
	w := privateWorld(t)
	grant(t, w.namespace+"-operator", w.namespace)
	w.start(release)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	w.quiet("shop")
	generations := func() map[string]int64 {
		found := map[string]int64{}
		for _, list := range childLists()[:3] { // Deployments, StatefulSets, Jobs
			if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace)); err != nil {
				t.Fatal(err)
			}
			_ = meta.EachListItem(list, func(o runtime.Object) error {
				c := o.(client.Object)
				found[fmt.Sprintf("%T %s", o, c.GetName())] = c.GetGeneration()
				return nil
			})
		}
		return found
	}
	before := generations()
	w.operator.stop()

	w.start(plan.Images{Runtime: "gocart-runtime:2.0.0", Postgres: "postgres:18", Redis: "redis:8"})
	w.eventually("the new operator to look at the Store", func() error {
		if w.reconciled("shop") == 0 {
			return fmt.Errorf("it has not")
		}
		return nil
	})
	w.quiet("shop")
	if after := generations(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the upgrade changed workloads:\nbefore %v\nafter  %v", before, after)
	}
	for _, r := range w.operator.requests.about(w.namespace) {
		if r.method != "GET" && !strings.Contains(r.path, "/events") {
			t.Errorf("the new operator wrote: %s", r)
		}
	}
	if s := w.untilReady("shop"); s.Status.Image.Current != release.Runtime {
		t.Errorf("the store runs %s", s.Status.Image.Current)
	}
}

func TestWorkersThatTheirQueuesScaleAreHandedOverWithoutADip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"worker: {replicas: 3}")
	w.untilReady("shop")
	w.change("shop", func(s *v1alpha1.Store) {
		s.Spec.Worker.Replicas = nil
		s.Spec.Worker.Autoscaling = &v1alpha1.WorkerAutoscalingSpec{MaxReplicas: 5}
	})
	w.until("shop", v1alpha1.WorkersScaledCondition, metav1.ConditionTrue, v1alpha1.ReasonScaledByJobs)
	w.untilReady("shop")
	w.quiet("shop")
	if n := *fetch(w, "shop-worker", &appsv1.Deployment{}).Spec.Replicas; n != 3 {
		t.Errorf("the hand-over left %d replicas of 3", n)
	}
	// While more are on their way, the store stays ready.
	w.machines.hold("Deployment")
	w.scale("shop-worker", 5)
	w.eventually("the status to follow", func() error {
		if s := w.store("shop"); s.Status.Worker.DesiredReplicas != 5 {
			return fmt.Errorf("worker is %s", s.Status.Worker.Ready)
		}
		return nil
	})
	w.machines.resume(t, "Deployment")
	w.untilReady("shop")
}

func TestAnotherAutoscalerOfTheWorkersIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"worker: {autoscaling: {maxReplicas: 5}}")
	w.untilReady("shop")
	other := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "somebodys", Namespace: w.namespace}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop-worker"}, MaxReplicas: 3,
	}}
	if err := w.client.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	s := w.until("shop", v1alpha1.WorkersScaledCondition, metav1.ConditionFalse, v1alpha1.ReasonAnotherAutoscaler)
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.WorkersScaledCondition); !strings.Contains(c.Message, "HorizontalPodAutoscaler somebodys") {
		t.Errorf("it says %q", c.Message)
	}
	if err := w.client.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	w.until("shop", v1alpha1.WorkersScaledCondition, metav1.ConditionTrue, v1alpha1.ReasonScaledByJobs)
}

func TestKEDAScalesWorkersWhereItIsAskedToAndIsQuotedWhenItDoesNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"worker: {autoscaling: {provider: KEDA, minReplicas: 0, maxReplicas: 5}}")
	w.untilReady("shop")
	scaled := fetch(w, "shop-worker", &keda.ScaledObject{})
	auth := fetch(w, "shop-worker", &keda.TriggerAuthentication{})
	if *scaled.Spec.MaxReplicaCount != 5 || auth.Spec.SecretTargetRef[0].Name != "shop-postgres" {
		t.Errorf("KEDA is asked for %+v with %+v", scaled.Spec, auth.Spec)
	}
	w.quiet("shop")
	before := scaled.DeepCopy()
	scaled.Status.Conditions = []keda.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "ScaledObjectCheckFailed", Message: "error connecting"}}
	if err := w.client.Status().Patch(t.Context(), scaled, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.until("shop", v1alpha1.WorkersScaledCondition, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	// KEDA's own HorizontalPodAutoscaler is no other's.
	owner := *metav1.NewControllerRef(scaled, keda.GroupVersion.WithKind("ScaledObject"))
	its := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "keda-hpa-shop-worker", Namespace: w.namespace, OwnerReferences: []metav1.OwnerReference{owner}},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop-worker"}, MaxReplicas: 5,
		}}
	if err := w.client.Create(t.Context(), its); err != nil {
		t.Fatal(err)
	}
	before = scaled.DeepCopy()
	scaled.Status.Conditions[0].Status = metav1.ConditionTrue
	if err := w.client.Status().Patch(t.Context(), scaled, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.until("shop", v1alpha1.WorkersScaledCondition, metav1.ConditionTrue, v1alpha1.ReasonScaledByJobs)
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Worker.Autoscaling = nil })
	w.untilGone("shop-worker", &keda.ScaledObject{})
	w.untilGone("shop-worker", &keda.TriggerAuthentication{})
	w.untilReady("shop")
}

func TestOperatorAndHPADoNotFightOverReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+"api: {replicas: 4}")
	w.untilReady("shop")
	seen, err := w.client.Watch(t.Context(), &appsv1.DeploymentList{}, client.InNamespace(w.namespace), client.MatchingLabels(plan.Selector("shop", plan.ComponentAPI)))
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Stop()

	w.change("shop", func(s *v1alpha1.Store) {
		s.Spec.API.Replicas = nil
		s.Spec.API.Autoscaling = &v1alpha1.APIAutoscalingSpec{MinReplicas: ptr(int32(2)), MaxReplicas: 9}
	})
	w.eventually("the autoscaler", func() error { return w.get("shop-api", &autoscalingv2.HorizontalPodAutoscaler{}) })
	w.untilReady("shop")
	w.quiet("shop")
	if n := *fetch(w, "shop-api", &appsv1.Deployment{}).Spec.Replicas; n != 4 {
		t.Fatalf("the hand-over left %d replicas of 4", n)
	}
	// The autoscaler decides, by the scale subresource as it does.
	w.scale("shop-api", 7)
	w.eventually("the status to follow", func() error {
		if s := w.store("shop"); s.Status.API.Ready != "7/7" {
			return fmt.Errorf("api is %s", s.Status.API.Ready)
		}
		return nil
	})
	w.quiet("shop")
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Observability = &v1alpha1.ObservabilitySpec{LogLevel: "debug"} })
	w.untilReady("shop")
	w.quiet("shop")
	if n := *fetch(w, "shop-api", &appsv1.Deployment{}).Spec.Replicas; n != 7 {
		t.Errorf("the operator set %d replicas where the autoscaler had set 7", n)
	}
	// And back: the spec's number rules again, and the autoscaler goes.
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.API.Autoscaling = nil; s.Spec.API.Replicas = ptr(int32(5)) })
	w.eventually("the spec's number", func() error {
		if n := *fetch(w, "shop-api", &appsv1.Deployment{}).Spec.Replicas; n != 5 {
			return fmt.Errorf("there are %d replicas", n)
		}
		if err := w.get("shop-api", &autoscalingv2.HorizontalPodAutoscaler{}); err == nil {
			return fmt.Errorf("the autoscaler is still there")
		}
		return nil
	})
	var numbers []int32
	for e := range seen.ResultChan() {
		if d, ok := e.Object.(*appsv1.Deployment); ok {
			if n := *d.Spec.Replicas; len(numbers) == 0 || numbers[len(numbers)-1] != n {
				numbers = append(numbers, n)
			}
		}
		if numbers[len(numbers)-1] == 5 {
			break
		}
	}
	if !slices.Equal(numbers, []int32{4, 7, 5}) {
		t.Errorf("spec.replicas went %v, want 4, 7, 5 and nothing between", numbers)
	}
}

func TestRotatedCredentialsRollThePods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.secret("database", map[string]string{"uri": "postgresql://u:old@db.example.com/shop", "unrelated": "a"})
	w.secret("cache", map[string]string{"url": "redis://u:old@redis.example.com"})
	w.create("shop", withoutTLS+`
database: {external: {uriSecretRef: {name: database, key: uri}}}
redis: {external: {urlSecretRef: {name: cache, key: url}}}`)
	w.untilReady("shop")
	template := func() string {
		raw, err := json.Marshal([]any{fetch(w, "shop-api", &appsv1.Deployment{}).Spec.Template, fetch(w, "shop-worker", &appsv1.Deployment{}).Spec.Template})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	last := template()
	for _, rotated := range []struct{ secret, data string }{
		{"database", `{stringData: {uri: "postgresql://u:new@db.example.com/shop"}}`},
		{"cache", `{stringData: {url: "redis://u:new@redis.example.com"}}`},
	} {
		w.patch(&corev1.Secret{}, rotated.secret, rotated.data)
		w.eventually("the pods to be rolled for Secret "+rotated.secret, func() error {
			if template() == last {
				return fmt.Errorf("the pod templates are as before")
			}
			return nil
		})
		w.untilReady("shop")
		last = template()
		if strings.Contains(last, ":new@") {
			t.Error("a pod template holds the password")
		}
	}
	w.patch(&corev1.Secret{}, "database", `{stringData: {unrelated: b}}`)
	w.quiet("shop")
	if template() != last {
		t.Error("a key that the store does not use rolled its pods")
	}
}

func TestFailedMigrationKeepsTheOldPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS+`image: {tag: "1.0.0"}`)
	w.untilReady("shop")
	before := fetch(w, "shop-api", &appsv1.Deployment{})
	w.machines.answers("gocart-runtime:2.0.0", status.Migration{Reason: "MigrationFailed", Message: "0007_orders.sql: column \"total\" is null in 3 rows"})
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Image.Tag = "2.0.0" })
	s := w.stalls("shop", v1alpha1.ReasonMigrationFailed, "gocart-runtime:2.0.0", "0007_orders.sql", "goes on with image gocart-runtime:1.0.0", "kubectl annotate store shop")
	if !meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.WorkloadsAvailableCondition) {
		t.Errorf("the old pods still serve:\n%s", told(s))
	}
	if s.Status.Image.Current != "gocart-runtime:1.0.0" || s.Status.Image.Migrated != "gocart-runtime:1.0.0" {
		t.Errorf("images are %+v", s.Status.Image)
	}
	w.quiet("shop")
	if after := fetch(w, "shop-api", &appsv1.Deployment{}); after.Generation != before.Generation {
		t.Error("the failed migration changed the Deployment")
	}
	w.untilEvent(v1alpha1.ReasonMigrationFailed)

	// Mended, it is tried again on request.
	w.machines.answers("gocart-runtime:2.0.0", status.Migration{Succeeded: true, Reason: "Migrated"})
	w.change("shop", func(s *v1alpha1.Store) { s.Annotations = map[string]string{plan.AnnotationReconcile: "1"} })
	w.untilReady("shop")
	if d := fetch(w, "shop-api", &appsv1.Deployment{}); d.Spec.Template.Spec.Containers[0].Image != "gocart-runtime:2.0.0" {
		t.Errorf("api runs %s after the migration", d.Spec.Template.Spec.Containers[0].Image)
	}
}

func TestRecreatedStoreReusesItsCertificateSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, policy := range []string{"Retain", "Delete"} {
		name := strings.ToLower(policy)
		gone := w.create(name, issued+"deletionPolicy: "+policy)
		w.untilReady(name)
		secret := fetch(w, name+"-tls", &corev1.Secret{})
		if len(secret.OwnerReferences) > 0 {
			t.Errorf("%s: the certificate's Secret has an owner and would go with it: %v", policy, secret.OwnerReferences)
		}
		issued1 := w.machines.issued()
		if err := w.client.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		w.untilGone(name, &v1alpha1.Store{})
		w.collectGarbage(gone)
		w.untilGone(name+"-tls", &certmanagerv1.Certificate{})

		w.create(name, issued)
		w.untilReady(name)
		if again := fetch(w, name+"-tls", &corev1.Secret{}); again.UID != secret.UID {
			t.Errorf("%s: the certificate's Secret was made anew", policy)
		}
		if n := w.machines.issued(); n != issued1 {
			t.Errorf("%s: a certificate was issued again", policy)
		}
	}
}
