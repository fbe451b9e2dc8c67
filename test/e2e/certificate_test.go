//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func TestRenewedCertificateIsServedUnderLoadWithoutARestartOrAFailedHandshake(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	unlimited(t, ns)
	create(t, newStore(ns, "shop", func(s *v1alpha1.Store) { s.Spec.API.Replicas = ptr(int32(2)) }))
	ready(t, ns, "shop")
	web := shop(t, ns, "shop")
	web.answers()
	first := servedSerial(t, ns, "shop")
	pods := podUIDs(t, ns)

	// Every visit is a handshake.
	web.client.Transport.(*http.Transport).DisableKeepAlives = true
	var renewed atomic.Int64
	leave := visiting(t, 4, func(int) (int, error) {
		resp, _, err := web.get("/api/health")
		if err != nil {
			return 0, err
		}
		if resp.TLS.PeerCertificates[0].SerialNumber.Cmp(first) != 0 {
			renewed.Add(1)
		}
		return resp.StatusCode, nil
	})
	c := read(t, ns, "shop-tls", &certmanagerv1.Certificate{})
	before := c.DeepCopy()
	issuing := func(c certmanagerv1.CertificateCondition) bool {
		return c.Type == certmanagerv1.CertificateConditionIssuing
	} // of the first time
	c.Status.Conditions = append(slices.DeleteFunc(c.Status.Conditions, issuing), certmanagerv1.CertificateCondition{
		Type: certmanagerv1.CertificateConditionIssuing, Status: cmmeta.ConditionTrue, Reason: "ManuallyTriggered",
		Message: "renewal asked for by a test", LastTransitionTime: ptr(metav1.Now()), ObservedGeneration: c.Generation,
	})
	if err := cluster.Status().Patch(t.Context(), c, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	for i, replica := range edgeOf(t, ns).replicas {
		replica.client.Transport.(*http.Transport).DisableKeepAlives = true
		eventually(t, patience, fmt.Sprintf("the renewed certificate is served by replica %d", i), func() error {
			resp, _, err := replica.get("/api/health")
			if err != nil {
				return err
			}
			if serial := resp.TLS.PeerCertificates[0].SerialNumber; serial.Cmp(first) == 0 {
				return fmt.Errorf("still %x", serial)
			}
			return nil
		})
	}
	eventually(t, 10*time.Second, "visitors see the renewed certificate", func() error {
		if renewed.Load() < 20 {
			return fmt.Errorf("%d did", renewed.Load())
		}
		return nil
	})
	v := leave()
	t.Logf("%s; %d of them with the renewed certificate", v, renewed.Load())
	if v.answered[http.StatusOK] != v.requests() {
		t.Errorf("not every visitor was answered 200: %s", v)
	}
	if now := podUIDs(t, ns); now != pods {
		t.Errorf("pods were replaced: %s, then %s", pods, now)
	}
}

func servedSerial(t *testing.T, ns, name string) *big.Int {
	t.Helper()
	conn, err := dialService(t, ns, name, "443")(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := tls.Client(conn, &tls.Config{RootCAs: acmeCAs, ServerName: domain(ns, name), MinVersion: tls.VersionTLS13})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("a handshake failed: %v", err)
	}
	return client.ConnectionState().PeerCertificates[0].SerialNumber
}

// podUIDs names the store's api pods and their restarts.
func podUIDs(t *testing.T, ns string) string {
	t.Helper()
	var pods corev1.PodList
	if err := cluster.List(t.Context(), &pods, client.InNamespace(ns), client.MatchingLabels{"app.kubernetes.io/component": "api"}); err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, p := range pods.Items {
		out += fmt.Sprintf("%s/%d ", p.UID, p.Status.ContainerStatuses[0].RestartCount)
	}
	return out
}

func TestLetsEncryptByHTTP01ThroughAnIngress(t *testing.T) {
	t.Parallel()
	var class networkingv1.IngressClass
	if err := cluster.Get(t.Context(), client.ObjectKey{Name: "haproxy"}, &class); err != nil {
		t.Fatalf("the add-ons' Ingress class: %v", err)
	}
	ns := namespace(t)
	create(t, newStore(ns, "shop", func(s *v1alpha1.Store) {
		s.Spec.TLS = v1alpha1.TLSSpec{LetsEncrypt: &v1alpha1.LetsEncryptSpec{
			Email: "ops@shop.test", Environment: v1alpha1.LetsEncryptStaging,
			Solver: v1alpha1.SolverSpec{HTTP01: &v1alpha1.HTTP01Spec{Ingress: &v1alpha1.HTTP01Ingress{ClassName: "haproxy"}}},
		}}
		s.Spec.Exposure = &v1alpha1.ExposureSpec{Ingress: &v1alpha1.IngressSpec{ClassName: "haproxy"}}
		// The pods of the cluster, the Ingress controller among them.
		s.Spec.Security = &v1alpha1.SecuritySpec{TrustedProxies: []string{"10.0.0.0/8"}}
	}))
	ready(t, ns, "shop")

	var services corev1.ServiceList
	if err := cluster.List(t.Context(), &services, client.InNamespace("haproxy-ingress")); err != nil || len(services.Items) == 0 {
		t.Fatalf("the Ingress controller's Service: %v", err)
	}
	proxy := net.JoinHostPort(services.Items[0].Spec.ClusterIP, "443")
	web := shop(t, ns, "shop")
	web.client.Transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: acmeCAs, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, proxy)
		},
	}
	eventually(t, time.Minute, "the store answers through the Ingress", func() error {
		resp, body, err := web.get("/api/health")
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s", resp.Status, body)
		}
		return nil
	})
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// logs of a pod's first container; empty when it has none yet.
func logs(t *testing.T, ns, pod string) string {
	t.Helper()
	config, err := ctrl.GetConfig()
	if err != nil {
		t.Fatal(err)
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := set.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{}).Stream(t.Context())
	if err != nil {
		return ""
	}
	defer func() { _ = stream.Close() }()
	raw, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
