package testenv_test

import (
	"os"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitee.com/captainjez/gocart/internal/testenv"
)

var cluster testenv.Cluster

func TestMain(m *testing.M) {
	os.Exit(cluster.Run(m, testenv.CertManager, testenv.GatewayAPI, testenv.ServiceMonitor))
}

func TestTheClusterServesGoCartAndTheOptionalAPIsAskedFor(t *testing.T) {
	c := cluster.Client(t)
	for _, name := range []string{
		"stores.commerce.rcommerce.app", "certificates.cert-manager.io",
		"httproutes.gateway.networking.k8s.io", "servicemonitors.monitoring.coreos.com",
	} {
		if err := c.Get(t.Context(), client.ObjectKey{Name: name}, &apiextensionsv1.CustomResourceDefinition{}); err != nil {
			t.Errorf("getting %s: %v", name, err)
		}
	}
}

func TestAnOptionalAPIComesAndGoes(t *testing.T) {
	c := cluster.Client(t)
	key := client.ObjectKey{Name: "clusters.postgresql.cnpg.io"}
	cluster.Install(t, testenv.CloudNativePG)
	if err := c.Get(t.Context(), key, &apiextensionsv1.CustomResourceDefinition{}); err != nil {
		t.Fatalf("after Install: %v", err)
	}
	cluster.Uninstall(t, testenv.CloudNativePG)
	if err := client.IgnoreNotFound(c.Get(t.Context(), key, &apiextensionsv1.CustomResourceDefinition{})); err != nil {
		t.Fatalf("after Uninstall: %v", err)
	}
}

func TestEachNamespaceIsFresh(t *testing.T) {
	if first, second := cluster.Namespace(t), cluster.Namespace(t); first == second {
		t.Fatalf("the same namespace twice: %s", first)
	}
}
