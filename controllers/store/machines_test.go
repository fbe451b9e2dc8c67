package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/status"
)

// machines play, in one namespace, the kubelet and the controllers of
// workloads, Jobs and certificates: what the operator applies comes true at
// once, unless a test holds a kind back.
type machines struct {
	client    client.WithWatch
	namespace string
	address   string // of the pods

	mu         sync.Mutex
	held       map[string]bool
	migrations map[string]status.Migration // by image; success where there is none
	issues     int
	trouble    []error
}

var byNamespace sync.Map // namespace -> *machines

func newMachines(t testing.TB, namespace string) *machines {
	m := &machines{
		client: cluster.Client(t, schemes...), namespace: namespace, address: pods(t).address(),
		held: map[string]bool{}, migrations: map[string]status.Migration{},
	}
	m.see(t, allIsWell)
	byNamespace.Store(namespace, m)
	t.Cleanup(func() {
		byNamespace.Delete(namespace)
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, err := range m.trouble {
			t.Errorf("the test's machines: %v", err)
		}
	})
	return m
}

// startMachines watches the whole cluster for all namespaces' machines.
func startMachines(t testing.TB) {
	c := cluster.Client(t, schemes...)
	go follow(c, &appsv1.DeploymentList{})
	go follow(c, &appsv1.StatefulSetList{})
	go follow(c, &batchv1.JobList{})
	go follow(c, &certmanagerv1.CertificateList{})
}

// follow hands every object of a kind to its namespace's machines, now and
// after each change.
func follow(c client.WithWatch, list client.ObjectList) {
	for background.Err() == nil {
		w, err := c.Watch(background, list.DeepCopyObject().(client.ObjectList))
		if err != nil {
			// The kind is not installed yet.
			select {
			case <-time.After(50 * time.Millisecond):
			case <-background.Done():
			}
			continue
		}
		for e := range w.ResultChan() {
			o, ok := e.Object.(client.Object)
			if !ok || e.Type != watch.Added && e.Type != watch.Modified {
				continue
			}
			if m, ok := byNamespace.Load(o.GetNamespace()); ok {
				m.(*machines).run(o)
			}
		}
		w.Stop()
	}
}

// hold stops a kind: "Deployment", "StatefulSet", "Job" or "Certificate".
func (m *machines) hold(kinds ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range kinds {
		m.held[k] = true
	}
}

// resume lets held kinds run, and has them look at everything again.
func (m *machines) resume(t *testing.T, kinds ...string) {
	t.Helper()
	m.mu.Lock()
	for _, k := range kinds {
		delete(m.held, k)
	}
	m.mu.Unlock()
	for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &batchv1.JobList{}, &certmanagerv1.CertificateList{}} {
		if err := m.client.List(t.Context(), list, client.InNamespace(m.namespace)); err != nil {
			t.Fatal(err)
		}
		_ = meta.EachListItem(list, func(o runtime.Object) error { m.run(o.(client.Object)); return nil })
	}
}

// answers sets how the migration of an image ends.
func (m *machines) answers(image string, with status.Migration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.migrations[image] = with
}

// see sets what the pods tell of their surroundings.
func (m *machines) see(t testing.TB, s status.Status) { pods(t).seen.Store(m.address, s) }

func (m *machines) issued() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.issues
}

func (m *machines) run(o client.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !o.GetDeletionTimestamp().IsZero() {
		return
	}
	var err error
	switch o := o.(type) {
	case *appsv1.StatefulSet:
		if !m.held["StatefulSet"] {
			err = m.runStatefulSet(o)
		}
	case *appsv1.Deployment:
		if !m.held["Deployment"] {
			err = m.runDeployment(o)
		}
	case *batchv1.Job:
		if !m.held["Job"] {
			err = m.runJob(o)
		}
	case *certmanagerv1.Certificate:
		if !m.held["Certificate"] {
			err = m.issue(o)
		}
	}
	if err != nil && !apierrors.IsNotFound(err) && background.Err() == nil {
		m.trouble = append(m.trouble, fmt.Errorf("%T %s: %w", o, o.GetName(), err))
	}
}

func (m *machines) runStatefulSet(s *appsv1.StatefulSet) error {
	want := appsv1.StatefulSetStatus{
		ObservedGeneration: s.Generation, Replicas: 1, ReadyReplicas: 1, AvailableReplicas: 1, UpdatedReplicas: 1, CurrentReplicas: 1,
	}
	if s.Status.ObservedGeneration == s.Generation && s.Status.ReadyReplicas == 1 {
		return nil
	}
	before := s.DeepCopy()
	s.Status = want
	return m.client.Status().Patch(background, s, client.MergeFrom(before))
}

func (m *machines) runDeployment(d *appsv1.Deployment) error {
	n := *d.Spec.Replicas
	s := d.Status
	if s.ObservedGeneration == d.Generation && s.Replicas == n && s.AvailableReplicas == n {
		return nil
	}
	if err := m.runPod(d, n); err != nil {
		return err
	}
	before := d.DeepCopy()
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, ReadyReplicas: n, AvailableReplicas: n, UpdatedReplicas: n}
	return m.client.Status().Patch(background, d, client.MergeFrom(before))
}

// runPod keeps one pod for a Deployment of any: the operator asks no second one.
func (m *machines) runPod(d *appsv1.Deployment, replicas int32) error {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: d.Name + "-0", Namespace: d.Namespace, Labels: d.Spec.Template.Labels},
		Spec:       *d.Spec.Template.Spec.DeepCopy(),
	}
	if replicas == 0 {
		return client.IgnoreNotFound(m.client.Delete(background, p, client.GracePeriodSeconds(0)))
	}
	if err := m.client.Create(background, p); client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	return m.podStatus(p, corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: m.address, PodIPs: []corev1.PodIP{{IP: m.address}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	})
}

func (m *machines) podStatus(p *corev1.Pod, s corev1.PodStatus) error {
	if err := m.client.Get(background, client.ObjectKeyFromObject(p), p); err != nil {
		return err
	}
	before := p.DeepCopy()
	p.Status = s
	return m.client.Status().Patch(background, p, client.MergeFrom(before))
}

func (m *machines) runJob(j *batchv1.Job) error {
	if len(j.Status.Conditions) > 0 {
		return nil
	}
	report, ok := m.migrations[j.Spec.Template.Spec.Containers[0].Image]
	if !ok {
		report = status.Migration{Succeeded: true, Reason: "Migrated", SchemaVersion: 1, DatabaseVersion: "17.2"}
	}
	words, err := json.Marshal(report)
	if err != nil {
		return err
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: j.Name + "-0", Namespace: j.Namespace, Labels: map[string]string{batchv1.JobNameLabel: j.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: *j.Spec.Template.Spec.DeepCopy(),
	}
	for k, v := range j.Spec.Template.Labels {
		p.Labels[k] = v
	}
	// What was left of an earlier Job of this name goes with it.
	if err := client.IgnoreNotFound(m.client.Delete(background, p.DeepCopy(), client.GracePeriodSeconds(0))); err != nil {
		return err
	}
	if err := m.client.Create(background, p); err != nil {
		return err
	}
	phase, code := corev1.PodSucceeded, int32(0)
	if !report.Succeeded {
		phase, code = corev1.PodFailed, 1
	}
	if err := m.podStatus(p, corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
		Name:  plan.ComponentMigrate,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: string(words) + "\n"}},
	}}}); err != nil {
		return err
	}
	before := j.DeepCopy()
	j.Status = jobStatus(report.Succeeded)
	return m.client.Status().Patch(background, j, client.MergeFrom(before))
}

func jobStatus(succeeded bool) batchv1.JobStatus {
	now := metav1.Now()
	condition := func(t batchv1.JobConditionType) batchv1.JobCondition {
		return batchv1.JobCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now}
	}
	s := batchv1.JobStatus{StartTime: &now}
	if succeeded {
		s.Succeeded, s.CompletionTime = 1, &now
		s.Conditions = []batchv1.JobCondition{condition(batchv1.JobSuccessCriteriaMet), condition(batchv1.JobComplete)}
	} else {
		s.Failed = 1
		s.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailureTarget), condition(batchv1.JobFailed)}
	}
	return s
}

// issue makes a certificate's Secret as cert-manager does: without an owner,
// and not again while one is there.
func (m *machines) issue(c *certmanagerv1.Certificate) error {
	for _, condition := range c.Status.Conditions {
		if condition.Type == certmanagerv1.CertificateConditionReady && condition.ObservedGeneration == c.Generation && condition.Status == cmmeta.ConditionTrue {
			return nil
		}
	}
	made, err := certificate()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: c.Spec.SecretName, Namespace: c.Namespace, Annotations: map[string]string{certmanagerv1.CertificateNameKey: c.Name}},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: made.crt, corev1.TLSPrivateKeyKey: made.key},
	}
	err = m.client.Create(background, secret)
	if err == nil {
		m.issues++
	}
	if client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	before := c.DeepCopy()
	after, renewal := metav1.NewTime(made.notAfter), metav1.NewTime(made.notAfter.Add(-720*time.Hour))
	c.Status.NotAfter, c.Status.RenewalTime = &after, &renewal
	c.Status.Conditions = []certmanagerv1.CertificateCondition{{
		Type: certmanagerv1.CertificateConditionReady, Status: cmmeta.ConditionTrue, Reason: "Ready",
		ObservedGeneration: c.Generation, LastTransitionTime: &metav1.Time{Time: time.Now()},
	}}
	return m.client.Status().Patch(background, c, client.MergeFrom(before))
}

// certificate is self-signed and good for 90 days.
var certificate = sync.OnceValues(func() (pair, error) {
	return selfSigned(time.Now().Add(90*24*time.Hour), "shop.example.com")
})

type pair struct {
	crt, key []byte
	notAfter time.Time
}

func selfSigned(notAfter time.Time, host string) (made pair, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	made.notAfter = notAfter.Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: made.notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return pair{}, err
	}
	made.crt = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return pair{}, err
	}
	made.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return made, nil
}

func childLists() []client.ObjectList {
	return []client.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &batchv1.JobList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{},
		&networkingv1.IngressList{}, &networkingv1.NetworkPolicyList{}, &autoscalingv2.HorizontalPodAutoscalerList{},
		&policyv1.PodDisruptionBudgetList{}, &certmanagerv1.CertificateList{}, &certmanagerv1.IssuerList{}, &gatewayv1.HTTPRouteList{},
	}
}

// collectGarbage removes what the garbage collector would after a Store went.
func (w *world) collectGarbage(gone *v1alpha1.Store) {
	w.t.Helper()
	for _, list := range childLists() {
		if err := w.client.List(w.t.Context(), list, client.InNamespace(w.namespace)); err != nil {
			w.t.Fatal(err)
		}
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			o := item.(client.Object)
			if owner := metav1.GetControllerOf(o); owner != nil && owner.UID == gone.UID {
				if err := w.client.Delete(w.t.Context(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
					w.t.Fatal(err)
				}
			}
			return nil
		})
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
