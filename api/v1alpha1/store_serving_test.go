package v1alpha1_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	commercev1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func TestATypedStoreThatLeavesOutItsServersGetsManagedOnes(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	disabled := true
	made := &commercev1alpha1.Store{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: namespace},
		Spec: commercev1alpha1.StoreSpec{
			Domains: []string{"shop.example.com"},
			TLS:     commercev1alpha1.TLSSpec{Disabled: &disabled},
		},
	}
	if err := c.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	if made.Spec.Database.Managed == nil || made.Spec.Redis.Managed == nil {
		t.Errorf("database %+v and redis %+v should be managed", made.Spec.Database, made.Spec.Redis)
	}
	if renew := made.Spec.TLS.RenewBefore; renew == nil || renew.Duration != 720*time.Hour {
		t.Errorf("renewBefore is %v, want 720h", renew)
	}
	// What was read can be written back.
	made.Spec.Paused = true
	if err := c.Update(t.Context(), made); err != nil {
		t.Errorf("writing back what was read: %v", err)
	}
}

func TestTheScaleSubresourceTakesZeroForZero(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := store(t, namespace, `api: {replicas: 2}`)
	if err := c.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 0}}
	if err := c.SubResource("scale").Update(t.Context(), made, client.WithSubResourceBody(scale)); err != nil {
		t.Fatalf("scaling to zero: %v", err)
	}
	read := &commercev1alpha1.Store{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(made), read); err != nil {
		t.Fatal(err)
	}
	if read.Spec.API.Replicas == nil || *read.Spec.API.Replicas != 0 {
		t.Errorf("api.replicas is %v after scaling to zero, want a pointer to 0", read.Spec.API.Replicas)
	}
}

func TestAStoreThatLeavesOutReplicasCanBeScaled(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := store(t, namespace, ``)
	if err := c.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
	if err := c.SubResource("scale").Update(t.Context(), made, client.WithSubResourceBody(scale)); err != nil {
		t.Fatal(err)
	}
	read := &commercev1alpha1.Store{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(made), read); err != nil {
		t.Fatal(err)
	}
	if read.Spec.API.Replicas == nil || *read.Spec.API.Replicas != 2 {
		t.Errorf("api.replicas is %v, want 2", read.Spec.API.Replicas)
	}
}

func TestTheScaleSubresourceReportsStatus(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := storeWithStatus(t, c, namespace)
	scale := &autoscalingv1.Scale{}
	if err := c.SubResource("scale").Get(t.Context(), made, scale); err != nil {
		t.Fatal(err)
	}
	if scale.Spec.Replicas != 3 || scale.Status.Replicas != 3 || scale.Status.Selector != "app.kubernetes.io/instance=shop" {
		t.Errorf("scale is %+v, %+v", scale.Spec, scale.Status)
	}
}

func TestTheScaleSubresourceOfAnAutoscaledStoreSaysWhoDecides(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := store(t, namespace, `api: {autoscaling: {maxReplicas: 4}}`)
	if err := c.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
	err := c.SubResource("scale").Update(t.Context(), made, client.WithSubResourceBody(scale))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "api.autoscaling") {
		t.Errorf("want a refusal that names api.autoscaling, got %v", err)
	}
}

func TestPrinterColumns(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := storeWithStatus(t, c, namespace)

	narrow, shown := columns(t, namespace, "stores", made.Name)
	if want := []string{"Name", "URL", "Ready", "Status", "API", "Worker", "Age"}; !slices.Equal(narrow, want) {
		t.Errorf("kubectl get shows %q, want %q", narrow, want)
	}
	for name, want := range map[string]string{
		"Name": "shop", "URL": "https://shop.example.com", "Ready": "True", "Status": "Ready", "API": "3/3", "Worker": "1/1",
		"Certificate": "2099-01-02T03:04:05Z", "Database": "17.6", "Redis": "7.4.1", "Image": "gocart-runtime:1.4.2", "Message": "everything answers",
	} {
		if shown[name] != want {
			t.Errorf("column %s shows %q, want %q", name, shown[name], want)
		}
	}
	if !strings.HasSuffix(shown["Age"], "s") {
		t.Errorf("column Age shows %q, want some seconds", shown["Age"])
	}
}

func TestAStoreIsFoundByItsShortNameAndCategories(t *testing.T) {
	r := served(t, "stores")
	if names := r.ShortNames; !slices.Equal(names, []string{"sto"}) {
		t.Errorf("short names %q", names)
	}
	if categories := r.Categories; !slices.Equal(categories, []string{"all", "gocart"}) {
		t.Errorf("categories %q", categories)
	}
}

// storeWithStatus makes a Store of three replicas and fills its status as the operator does.
func storeWithStatus(t *testing.T, c client.Client, namespace string) *commercev1alpha1.Store {
	t.Helper()
	if err := c.Create(t.Context(), store(t, namespace, `api: {replicas: 3}`)); err != nil {
		t.Fatal(err)
	}
	made := &commercev1alpha1.Store{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "shop"}, made); err != nil {
		t.Fatal(err)
	}
	expiry := metav1.NewTime(time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC))
	made.Status = commercev1alpha1.StoreStatus{
		ObservedGeneration: made.Generation,
		URL:                "https://shop.example.com",
		Conditions: []metav1.Condition{{
			Type: commercev1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: commercev1alpha1.ReasonReady,
			Message: "everything answers", ObservedGeneration: made.Generation, LastTransitionTime: metav1.Now(),
		}},
		Image:       &commercev1alpha1.ImageStatus{Current: "gocart-runtime:1.4.2"},
		API:         &commercev1alpha1.WorkloadStatus{Ready: "3/3", DesiredReplicas: 3, ReadyReplicas: 3, Selector: "app.kubernetes.io/instance=shop"},
		Worker:      &commercev1alpha1.WorkloadStatus{Ready: "1/1", DesiredReplicas: 1, ReadyReplicas: 1},
		Certificate: &commercev1alpha1.CertificateStatus{SecretName: "shop-tls", NotAfter: &expiry},
		Database:    &commercev1alpha1.ServerStatus{Version: "17.6"},
		Redis:       &commercev1alpha1.ServerStatus{Version: "7.4.1"},
	}
	if err := c.Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	return made
}
