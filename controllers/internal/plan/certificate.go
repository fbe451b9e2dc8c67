package plan

import (
	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// issuer is the store's own ACME account, for tls.letsEncrypt. The account's
// key is kept in a Secret that outlives the Store, as the certificate's is.
func issuer(in Input) *certmanagerv1.Issuer {
	le := in.Store.Spec.TLS.LetsEncrypt
	if le == nil {
		return nil
	}
	server, environment := in.ACME.ProductionURL, "production"
	if le.Environment == v1alpha1.LetsEncryptStaging {
		server, environment = in.ACME.StagingURL, "staging"
	}
	account := cmmeta.SecretKeySelector{LocalObjectReference: cmmeta.LocalObjectReference{
		// Accounts of the two environments are not interchangeable.
		Name: Name(in.Store.Name, "acme-"+environment),
	}}
	return &certmanagerv1.Issuer{
		TypeMeta:   metav1.TypeMeta{APIVersion: "cert-manager.io/v1", Kind: "Issuer"},
		ObjectMeta: meta(in, "certificate", "acme"),
		Spec: certmanagerv1.IssuerSpec{IssuerConfig: certmanagerv1.IssuerConfig{ACME: &acmev1.ACMEIssuer{
			Email:      le.Email,
			Server:     server,
			CABundle:   in.ACME.CABundle,
			PrivateKey: account,
			Solvers:    []acmev1.ACMEChallengeSolver{solver(in, le.Solver)},
		}}},
	}
}

func solver(in Input, s v1alpha1.SolverSpec) acmev1.ACMEChallengeSolver {
	switch {
	case s.HTTP01 != nil && s.HTTP01.Gateway != nil:
		return acmev1.ACMEChallengeSolver{HTTP01: &acmev1.ACMEChallengeSolverHTTP01{
			GatewayHTTPRoute: &acmev1.ACMEChallengeSolverHTTP01GatewayHTTPRoute{ParentRefs: in.Store.Spec.Exposure.Gateway.ParentRefs},
		}}
	case s.HTTP01 != nil:
		return acmev1.ACMEChallengeSolver{HTTP01: &acmev1.ACMEChallengeSolverHTTP01{
			Ingress: &acmev1.ACMEChallengeSolverHTTP01Ingress{IngressClassName: ptr(s.HTTP01.Ingress.ClassName)},
		}}
	case s.DNS01.RFC2136 != nil:
		r := s.DNS01.RFC2136
		return acmev1.ACMEChallengeSolver{DNS01: &acmev1.ACMEChallengeSolverDNS01{
			RFC2136: &acmev1.ACMEIssuerDNS01ProviderRFC2136{
				Nameserver:    r.Nameserver,
				TSIGKeyName:   r.TSIGKeyName,
				TSIGAlgorithm: orElse(r.TSIGAlgorithm, "HMACSHA256"),
				TSIGSecret:    secretKey(r.TSIGSecretRef),
			},
		}}
	default:
		token := secretKey(s.DNS01.Cloudflare.APITokenSecretRef)
		return acmev1.ACMEChallengeSolver{DNS01: &acmev1.ACMEChallengeSolverDNS01{
			Cloudflare: &acmev1.ACMEIssuerDNS01ProviderCloudflare{APIToken: &token},
		}}
	}
}

func secretKey(k v1alpha1.SecretKey) cmmeta.SecretKeySelector {
	return cmmeta.SecretKeySelector{LocalObjectReference: cmmeta.LocalObjectReference{Name: k.Name}, Key: k.Key}
}

// certificate asks cert-manager for one certificate over all domains.
func certificate(in Input) *certmanagerv1.Certificate {
	tls := in.Store.Spec.TLS
	var ref cmmeta.IssuerReference
	switch {
	case tls.LetsEncrypt != nil:
		ref = cmmeta.IssuerReference{Name: Name(in.Store.Name, "acme"), Kind: "Issuer", Group: "cert-manager.io"}
	case tls.IssuerRef != nil:
		ref = cmmeta.IssuerReference{Name: tls.IssuerRef.Name, Kind: orElse(tls.IssuerRef.Kind, "Issuer"), Group: orElse(tls.IssuerRef.Group, "cert-manager.io")}
	default:
		return nil
	}
	c := &certmanagerv1.Certificate{
		TypeMeta:   metav1.TypeMeta{APIVersion: "cert-manager.io/v1", Kind: "Certificate"},
		ObjectMeta: meta(in, "certificate", "tls"),
		Spec: certmanagerv1.CertificateSpec{
			SecretName: CertificateSecret(in.Store),
			DNSNames:   in.Store.Spec.Domains,
			IssuerRef:  ref,
			PrivateKey: &certmanagerv1.CertificatePrivateKey{
				Algorithm:      certmanagerv1.ECDSAKeyAlgorithm,
				Size:           256,
				RotationPolicy: certmanagerv1.RotationPolicyAlways,
			},
			RenewBefore: tls.RenewBefore,
			// The last few requests tell why an issuer refused; more only fill the API.
			RevisionHistoryLimit: ptr(int32(3)),
		},
	}
	if len(in.Store.Spec.Domains[0]) <= 64 {
		// Old clients show the common name; it holds 64 characters at most (RFC 5280).
		c.Spec.CommonName = in.Store.Spec.Domains[0]
	}
	return c
}
