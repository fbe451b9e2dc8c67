//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// Every kind of bad input ends in a condition that says what is wrong and
// where; the operator neither crashes nor tells a secret.

func TestUnknownFieldIsRefusedByName(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	s := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "commerce.rcommerce.app/v1alpha1", "kind": "Store",
		"metadata": map[string]any{"name": "shop", "namespace": ns},
		"spec":     map[string]any{"domains": []any{"a.shop.test"}, "tls": map[string]any{"disabled": true}, "replica": int64(3)},
	}}
	err := client.WithFieldValidation(cluster, metav1.FieldValidationStrict).Create(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), `"spec.replica"`) {
		t.Errorf("the API server said: %v", err)
	}
}

func TestMissingSecretIsNamed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", plainHTTP, externalDatabase("warehouse")))
	s := condition(t, ns, "shop", v1alpha1.DatabaseReadyCondition, func(c metav1.Condition) bool {
		return c.Reason == v1alpha1.ReasonSecretNotFound && strings.Contains(c.Message, ns+"/warehouse") && strings.Contains(c.Message, `"uri"`)
	})
	stalled(t, s, v1alpha1.ReasonSecretNotFound)
	operatorIsWell(t)
}

func TestWrongPasswordIsToldWithoutThePassword(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "other", plainHTTP))
	ready(t, ns, "other")
	const password = "not-the-password-4711"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "warehouse"}, StringData: map[string]string{
		"uri": "postgresql://gocart:" + password + "@other-postgres." + ns + ".svc:5432/gocart",
	}}
	create(t, secret)
	create(t, newStore(ns, "shop", plainHTTP, externalDatabase("warehouse")))
	s := condition(t, ns, "shop", v1alpha1.DatabaseReadyCondition, func(c metav1.Condition) bool {
		return c.Reason == "AuthenticationFailed" && strings.Contains(c.Message, ns+"/warehouse")
	})
	stalled(t, s, "AuthenticationFailed")
	neverTold(t, ns, password)
	operatorIsWell(t)

	t.Run("and a mended Secret is enough to go on", func(t *testing.T) {
		right := read(t, ns, "other-postgres", &corev1.Secret{}).Data["uri"]
		mended := read(t, ns, "warehouse", &corev1.Secret{})
		mended.Data["uri"] = right
		if err := cluster.Update(t.Context(), mended); err != nil {
			t.Fatal(err)
		}
		ready(t, ns, "shop")
	})
}

func TestImageThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", plainHTTP, runtimeImage("docker.io/library/gocart-runtime", "no-such-tag")))
	condition(t, ns, "shop", v1alpha1.MigrationSucceededCondition, func(c metav1.Condition) bool {
		return c.Reason == v1alpha1.ReasonImagePullFailed && strings.Contains(c.Message, "gocart-runtime:no-such-tag")
	})
	operatorIsWell(t)
	patchStore(t, ns, "shop", func(s *v1alpha1.Store) { s.Spec.Image.Tag = "dev" })
	ready(t, ns, "shop")
}

func TestIssuerThatRefusesIsQuoted(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", func(s *v1alpha1.Store) { s.Spec.Domains = []string{"refused.shop.test"} }))
	condition(t, ns, "shop", v1alpha1.CertificateReadyCondition, func(c metav1.Condition) bool {
		return c.Reason == v1alpha1.ReasonIssueFailed && strings.Contains(c.Message, "pebble-http01") && strings.Contains(c.Message, "rejectedIdentifier")
	})
	operatorIsWell(t)
}

func TestIssuerThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", func(s *v1alpha1.Store) { s.Spec.TLS.IssuerRef.Name = "nobody" }))
	condition(t, ns, "shop", v1alpha1.CertificateReadyCondition, func(c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "nobody") && strings.Contains(c.Message, "not found")
	})
	operatorIsWell(t)
}

func externalDatabase(secret string) func(*v1alpha1.Store) {
	return func(s *v1alpha1.Store) {
		s.Spec.Database = v1alpha1.DatabaseSpec{External: &v1alpha1.ExternalDatabaseSpec{URISecretRef: v1alpha1.SecretKey{Name: secret, Key: "uri"}}}
	}
}

// stalled: the Store says that it does not go on by itself, and Ready says why.
func stalled(t *testing.T, s *v1alpha1.Store, reason string) {
	t.Helper()
	found := map[string]string{}
	for _, c := range s.Status.Conditions {
		found[c.Type] = string(c.Status) + " " + c.Reason
	}
	if found[v1alpha1.StalledCondition] != "True "+reason || found[v1alpha1.ReadyCondition] != "False "+reason {
		t.Errorf("conditions are %v", found)
	}
}

// neverTold: no object but the Secret, no event and no log holds the text.
func neverTold(t *testing.T, ns, secret string) {
	t.Helper()
	var stores v1alpha1.StoreList
	var events eventsv1.EventList
	var pods corev1.PodList
	for _, list := range []client.ObjectList{&stores, &events, &pods} {
		if err := cluster.List(t.Context(), list, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		if raw := jsonOf(t, list); strings.Contains(raw, secret) {
			t.Errorf("a %T tells the password", list)
		}
	}
	for _, p := range pods.Items {
		if strings.Contains(logs(t, ns, p.Name), secret) {
			t.Errorf("the log of pod %s tells the password", p.Name)
		}
	}
	for _, p := range operatorPods(t) {
		if strings.Contains(logs(t, p.Namespace, p.Name), secret) {
			t.Errorf("the operator's log tells the password")
		}
	}
}

func operatorPods(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := cluster.List(t.Context(), &pods, client.MatchingLabels{"app.kubernetes.io/name": "gocart-operator"}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Fatal("there is no operator pod")
	}
	return pods.Items
}

// operatorIsWell: it has not crashed.
func operatorIsWell(t *testing.T) {
	t.Helper()
	for _, p := range operatorPods(t) {
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 {
				t.Errorf("the operator's pod %s was restarted %d times; it ended with %+v", p.Name, c.RestartCount, c.LastTerminationState.Terminated)
			}
		}
	}
}
