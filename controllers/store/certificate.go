package store

import (
	"context"
	"fmt"
	"time"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// certificate has cert-manager issue the certificate, or looks at the user's own.
func (r *Reconciler) certificate(ctx context.Context, run *run) error {
	run.store.Status.Certificate = nil
	if run.refs.Certificate == "" {
		return nil
	}
	facts, err := r.secret(ctx, run.store, run.refs.Certificate)
	if err != nil {
		return err
	}
	status := &v1alpha1.CertificateStatus{SecretName: run.refs.Certificate}
	if facts != nil && facts.sums[corev1.TLSCertKey] != "" && facts.sums[corev1.TLSPrivateKeyKey] != "" {
		run.certificate = facts
		status.NotAfter = facts.notAfter()
	}
	run.store.Status.Certificate = status
	if len(run.objects.Certificate) == 0 {
		return r.ownCertificate(run)
	}
	return r.issuedCertificate(ctx, run, status)
}

func (r *Reconciler) ownCertificate(run *run) error {
	where := run.store.Namespace + "/" + run.refs.Certificate
	if run.certificate == nil {
		return outcome.Terminal(v1alpha1.ReasonSecretNotFound, "Secret %s, which spec.tls.secretName names, does not exist or lacks tls.crt or tls.key: create it with kubectl create secret tls", where)
	}
	c := run.certificate.certificate
	if c == nil {
		return outcome.Terminal(v1alpha1.ReasonSecretInvalid, "tls.crt of Secret %s holds no certificate in PEM: replace it", where)
	}
	until := c.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case !run.certificate.paired:
		return outcome.Terminal(v1alpha1.ReasonSecretInvalid, "tls.key of Secret %s is not the key of the certificate in tls.crt: replace one of them", where)
	case c.NotAfter.Before(r.Now()):
		return outcome.Terminal(v1alpha1.ReasonExpired, "the certificate in Secret %s expired at %s: replace it", where, until)
	}
	for _, d := range run.store.Spec.Domains {
		if c.VerifyHostname(d) != nil {
			return outcome.Terminal(v1alpha1.ReasonSecretInvalid, "the certificate in Secret %s is not for %s: replace it by one for every domain of the store, or remove the domain", where, d)
		}
	}
	run.conditions.True(v1alpha1.CertificateReadyCondition, v1alpha1.ReasonServed, "the certificate in Secret "+where+" is valid until "+until)
	return nil
}

func (r *Reconciler) issuedCertificate(ctx context.Context, run *run, status *v1alpha1.CertificateStatus) error {
	if !r.Capabilities.Has(capability.CertManager) {
		return outcome.Waiting(v1alpha1.ReasonAPIMissing, 0, "the cluster has no %s: install %s, or set spec.tls.secretName", capability.CertManager.GroupVersion, capability.CertManager.Install)
	}
	current, err := r.apply(ctx, run, run.objects.Certificate)
	if err != nil {
		return err
	}
	name := plan.Name(run.store.Name, "tls")
	c, err := get(ctx, r.Client, run.store.Namespace, name, &certmanagerv1.Certificate{})
	if err != nil {
		return fmt.Errorf("reading Certificate %s: %w", name, err)
	}
	if c == nil || !current {
		return outcome.Waiting(v1alpha1.ReasonIssuing, 0, "Certificate %s was just applied", name)
	}
	status.RenewalTime = c.Status.RenewalTime
	if c.Status.NotAfter != nil {
		status.NotAfter = c.Status.NotAfter
	}
	ready := certificateCondition(c, certmanagerv1.CertificateConditionReady)
	if ready != nil && ready.Status == cmmeta.ConditionTrue && ready.ObservedGeneration >= c.Generation && run.certificate != nil && status.NotAfter != nil {
		run.conditions.True(v1alpha1.CertificateReadyCondition, v1alpha1.ReasonIssued, "valid until "+status.NotAfter.UTC().Format(time.RFC3339))
		return nil
	}
	return r.issuingTrouble(ctx, c)
}

// issuingTrouble asks cert-manager's objects why there is no certificate yet.
// It is looked at again soon, for those objects are not watched.
func (r *Reconciler) issuingTrouble(ctx context.Context, c *certmanagerv1.Certificate) error {
	const again = 10 * time.Second
	if i := certificateCondition(c, certmanagerv1.CertificateConditionIssuing); i != nil && i.Status == cmmeta.ConditionFalse && i.Reason == "Failed" {
		return outcome.Waiting(v1alpha1.ReasonIssueFailed, again, "%s refused Certificate %s: %s", issuerOf(c), c.Name, diagnosis.Clip(i.Message))
	}
	var challenges acmev1.ChallengeList
	if err := r.Live.List(ctx, &challenges, client.InNamespace(c.Namespace)); err == nil {
		for i := range challenges.Items {
			ch := &challenges.Items[i]
			if ch.Status.Reason != "" && contains(c.Spec.DNSNames, ch.Spec.DNSName) {
				return outcome.Waiting(v1alpha1.ReasonIssuing, again, "%s is proving that %s is yours by %s: %s", issuerOf(c), ch.Spec.DNSName, ch.Spec.Type, diagnosis.Clip(ch.Status.Reason))
			}
		}
	}
	var requests certmanagerv1.CertificateRequestList
	if err := r.Live.List(ctx, &requests, client.InNamespace(c.Namespace)); err == nil {
		for i := range requests.Items {
			q := &requests.Items[i]
			if !metav1.IsControlledBy(q, c) {
				continue
			}
			for _, condition := range q.Status.Conditions {
				if condition.Type == certmanagerv1.CertificateRequestConditionReady && condition.Status == cmmeta.ConditionFalse && condition.Message != "" {
					return outcome.Waiting(v1alpha1.ReasonIssuing, again, "%s: %s", issuerOf(c), diagnosis.Clip(condition.Message))
				}
			}
		}
	}
	return outcome.Waiting(v1alpha1.ReasonIssuing, again, "%s has not issued Certificate %s yet", issuerOf(c), c.Name)
}

func issuerOf(c *certmanagerv1.Certificate) string {
	return c.Spec.IssuerRef.Kind + " " + c.Spec.IssuerRef.Name
}

func certificateCondition(c *certmanagerv1.Certificate, t certmanagerv1.CertificateConditionType) *certmanagerv1.CertificateCondition {
	for i := range c.Status.Conditions {
		if c.Status.Conditions[i].Type == t {
			return &c.Status.Conditions[i]
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
