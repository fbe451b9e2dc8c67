package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// databaseSecrets names the keys that hold the database's URI and, if any, its CA.
func databaseSecrets(in Input) (uri v1alpha1.SecretKey, ca *v1alpha1.SecretKey) {
	switch d := in.Store.Spec.Database; {
	case d.External != nil:
		return d.External.URISecretRef, d.External.CASecretRef
	case d.CloudNativePG != nil:
		// The Secrets that CloudNativePG makes for a Cluster.
		return v1alpha1.SecretKey{Name: d.CloudNativePG.ClusterName + "-app", Key: uriKey},
			&v1alpha1.SecretKey{Name: d.CloudNativePG.ClusterName + "-ca", Key: caKey}
	default:
		return v1alpha1.SecretKey{Name: PostgresSecret(in.Store.Name), Key: uriKey}, nil
	}
}

// redisSecrets names the keys that hold Redis' URL and, if any, its CA.
func redisSecrets(in Input) (url v1alpha1.SecretKey, ca *v1alpha1.SecretKey) {
	if e := in.Store.Spec.Redis.External; e != nil {
		return e.URLSecretRef, e.CASecretRef
	}
	return v1alpha1.SecretKey{Name: RedisSecret(in.Store.Name), Key: urlKey}, nil
}

// References are the Secret keys that a store's pods hold.
type References struct {
	Database, Redis []v1alpha1.SecretKey
	// Mail is the SMTP server's, none without mail.
	Mail []v1alpha1.SecretKey
	// Stripe are the API key and what events are signed with, none without Stripe.
	Stripe []v1alpha1.SecretKey
	// Credentials are the generated admin key and its like.
	Credentials v1alpha1.SecretKey
	// PullSecrets of the runtime's image.
	PullSecrets []string
	// Certificate is the TLS Secret's name, empty without TLS.
	Certificate string
}

// Refs returns the Secret keys that a store's pods hold.
func Refs(s *v1alpha1.Store) References {
	in := Input{Store: s}
	r := References{
		Credentials: v1alpha1.SecretKey{Name: CredentialsSecret(s.Name), Key: adminKeyKey},
		Certificate: CertificateSecret(s),
	}
	uri, ca := databaseSecrets(in)
	r.Database = keys(uri, ca)
	url, ca := redisSecrets(in)
	r.Redis = keys(url, ca)
	if m := s.Spec.Mail; m != nil {
		r.Mail = []v1alpha1.SecretKey{m.URLSecretRef}
	}
	if p := stripeOf(s); p != nil {
		r.Stripe = append([]v1alpha1.SecretKey{p.APIKeySecretRef}, p.WebhookSecretRefs...)
	}
	if s.Spec.Image != nil {
		for _, p := range s.Spec.Image.PullSecrets {
			r.PullSecrets = append(r.PullSecrets, p.Name)
		}
	}
	return r
}

func keys(first v1alpha1.SecretKey, second *v1alpha1.SecretKey) []v1alpha1.SecretKey {
	if second == nil {
		return []v1alpha1.SecretKey{first}
	}
	return []v1alpha1.SecretKey{first, *second}
}

// SecretNames of every Secret that a store depends on and does not itself
// generate, each once.
func (r References) SecretNames() []string {
	seen := map[string]bool{}
	var names []string
	add := func(n string) {
		if n != "" && !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	for _, k := range slices.Concat(r.Database, r.Redis, r.Mail, r.Stripe) {
		add(k.Name)
	}
	add(r.Credentials.Name)
	for _, n := range r.PullSecrets {
		add(n)
	}
	add(r.Certificate)
	return names
}

// Credentials is the Secret that holds the store's first API key, and the key
// that signs its tokens.
func Credentials(s *v1alpha1.Store, adminKey, tokenKey string) *corev1.Secret {
	return generated(s, "credentials", CredentialsSecret(s.Name), map[string]string{adminKeyKey: adminKey, tokenKeyKey: tokenKey})
}

// PostgresCredentials is the Secret of the managed database; nil when it is not managed.
func PostgresCredentials(s *v1alpha1.Store, password string) *corev1.Secret {
	if s.Spec.Database.Managed == nil {
		return nil
	}
	host := Name(s.Name, ComponentPostgres) + "." + s.Namespace + ".svc"
	return generated(s, ComponentPostgres, PostgresSecret(s.Name), map[string]string{
		"username": postgresUser,
		"password": password,
		"database": postgresDatabase,
		uriKey:     "postgresql://" + postgresUser + ":" + password + "@" + host + ":5432/" + postgresDatabase + "?sslmode=prefer",
	})
}

// RedisCredentials is the Secret of the managed Redis; nil when it is not managed.
func RedisCredentials(s *v1alpha1.Store, password string) *corev1.Secret {
	if s.Spec.Redis.Managed == nil {
		return nil
	}
	host := Name(s.Name, ComponentRedis) + "." + s.Namespace + ".svc"
	return generated(s, ComponentRedis, RedisSecret(s.Name), map[string]string{
		"password": password,
		urlKey:     "redis://:" + password + "@" + host + ":6379/0",
		// A file, so that the password is on no command line.
		redisAuthKey: "requirepass " + password + "\n",
	})
}

// generated is immutable: a managed server learns its password once, so a
// changed Secret would only lock the store out.
func generated(s *v1alpha1.Store, component, name string, data map[string]string) *corev1.Secret {
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.Namespace, Labels: Labels(s.Name, component)},
		Immutable:  ptr(true),
		Data:       map[string][]byte{},
	}
	for k, v := range data {
		secret.Data[k] = []byte(v)
	}
	return secret
}
