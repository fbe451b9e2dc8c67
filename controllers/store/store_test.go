package store_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/internal/testenv"
)

// This one is not parallel: it runs before all others, in a cluster that has
// no optional API yet.
func TestOptionalAPIsAreAskedForAndPickedUpWhenTheyAppear(t *testing.T) {
	w := bareWorld(t)
	w.create("issued", issued)
	w.create("routed", withoutTLS+`exposure: {gateway: {parentRefs: [{name: public}]}}`)
	w.create("scaled", withoutTLS+`worker: {autoscaling: {provider: KEDA, maxReplicas: 5}}`)
	w.create("watched", withoutTLS+`observability: {serviceMonitor: {}}`)

	w.until("issued", v1alpha1.CertificateReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonAPIMissing)
	w.until("routed", v1alpha1.RouteReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonAPIMissing)
	w.until("scaled", v1alpha1.WorkersScaledCondition, metav1.ConditionFalse, v1alpha1.ReasonAPIMissing)
	w.until("watched", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonAPIMissing)

	installAPIs.Do(func() {
		cluster.Install(t, testenv.CertManager, testenv.GatewayAPI, testenv.KEDA, testenv.ServiceMonitor)
	})
	w.untilReady("issued")
	w.untilReady("scaled")
	w.untilReady("watched")
	w.until("routed", v1alpha1.RouteReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
}

func TestAStoreBecomesReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", issued)
	s := w.untilReady("shop")
	if s.Status.URL != "https://shop.example.com" || s.Status.API.Ready != "1/1" || s.Status.Worker.Ready != "1/1" {
		t.Errorf("status is %+v", s.Status)
	}
	if s.Status.Certificate == nil || s.Status.Certificate.NotAfter == nil || s.Status.Certificate.RenewalTime == nil {
		t.Errorf("certificate is %+v", s.Status.Certificate)
	}
	if s.Status.Database.Version != "17.2" || s.Status.Redis.Version != "7.4.1" {
		t.Errorf("versions are %+v and %+v", s.Status.Database, s.Status.Redis)
	}
	if i := s.Status.Image; i.Current != release.Runtime || i.Migrated != release.Runtime {
		t.Errorf("images are %+v", i)
	}
	if len(s.Status.Conditions) != 7 {
		t.Errorf("a ready Store has its six conditions and Ready, not\n%s", told(s))
	}
}
