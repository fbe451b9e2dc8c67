package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// secretFacts is what is remembered of a Secret: never its content.
type secretFacts struct {
	uid             types.UID
	resourceVersion string
	// sums are the SHA-256 of each key's value.
	sums map[string]string
	// certificate is the one in tls.crt, nil when there is none; paired tells
	// whether tls.key is its key.
	certificate *x509.Certificate
	paired      bool
}

// secretReader reads a Secret only when its metadata, which is all that is
// cached, says that it changed.
type secretReader struct {
	mu    sync.Mutex
	known map[types.NamespacedName]map[string]*secretFacts
}

func (c *secretReader) recall(store types.NamespacedName, name string) *secretFacts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[store][name]
}

func (c *secretReader) remember(store types.NamespacedName, name string, f *secretFacts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[types.NamespacedName]map[string]*secretFacts{}
	}
	if c.known[store] == nil {
		c.known[store] = map[string]*secretFacts{}
	}
	c.known[store][name] = f
}

// forget drops what was remembered for a Store that is gone.
func (c *secretReader) forget(store types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, store)
}

func secretMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return m
}

// secret tells what is known of a Secret in the Store's namespace; nil when
// there is none.
func (r *Reconciler) secret(ctx context.Context, s *v1alpha1.Store, name string) (*secretFacts, error) {
	m, err := get(ctx, r.Client, s.Namespace, name, secretMetadata())
	if err != nil || m == nil {
		return nil, err
	}
	key := client.ObjectKeyFromObject(s)
	if f := r.secrets.recall(key, name); f != nil && f.uid == m.UID && f.resourceVersion == m.ResourceVersion {
		return f, nil
	}
	secret, err := get(ctx, r.Live, s.Namespace, name, &corev1.Secret{})
	if err != nil || secret == nil {
		return nil, err
	}
	f := &secretFacts{uid: secret.UID, resourceVersion: secret.ResourceVersion, sums: map[string]string{}}
	for k, v := range secret.Data {
		if len(v) == 0 {
			continue
		}
		sum := sha256.Sum256(v)
		f.sums[k] = hex.EncodeToString(sum[:])
	}
	f.certificate = firstCertificate(secret.Data[corev1.TLSCertKey])
	_, err = tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	f.paired = err == nil
	r.secrets.remember(key, name, f)
	return f, nil
}

// notAfter is when the certificate expires; nil without one.
func (f *secretFacts) notAfter() *metav1.Time {
	if f.certificate == nil {
		return nil
	}
	t := metav1.NewTime(f.certificate.NotAfter)
	return &t
}

// firstCertificate of a PEM file; nil when there is none.
func firstCertificate(raw []byte) *x509.Certificate {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return c
}

// resolve checks that the named keys are there and returns a salted hash of them.
func (r *Reconciler) resolve(ctx context.Context, run *run, keys []v1alpha1.SecretKey) (string, error) {
	parts := []string{run.salt}
	for _, k := range keys {
		f, err := r.secret(ctx, run.store, k.Name)
		if err != nil {
			return "", fmt.Errorf("reading Secret %s: %w", k.Name, err)
		}
		if f == nil {
			return "", outcome.Terminal(v1alpha1.ReasonSecretNotFound, "Secret %s/%s does not exist: create it with the key %q", run.store.Namespace, k.Name, k.Key)
		}
		sum, ok := f.sums[k.Key]
		if !ok {
			return "", outcome.Terminal(v1alpha1.ReasonSecretInvalid, "Secret %s/%s has no key %q, or it is empty: add it", run.store.Namespace, k.Name, k.Key)
		}
		parts = append(parts, sum)
	}
	return plan.Hash(parts...)[:16], nil
}

func (r *Reconciler) resolveDatabase(ctx context.Context, run *run) (err error) {
	run.databaseHash, err = r.resolve(ctx, run, run.refs.Database)
	return err
}

func (r *Reconciler) resolveRedis(ctx context.Context, run *run) (err error) {
	run.redisHash, err = r.resolve(ctx, run, run.refs.Redis)
	return err
}

// resolveMail leaves the hash empty for a store without mail, so that it has no
// part in what its pods are told.
func (r *Reconciler) resolveMail(ctx context.Context, run *run) (err error) {
	if len(run.refs.Mail) > 0 {
		run.mailHash, err = r.resolve(ctx, run, run.refs.Mail)
	}
	return err
}

// resolvePayments is resolveMail for the payment providers.
func (r *Reconciler) resolvePayments(ctx context.Context, run *run) (err error) {
	if len(run.refs.Stripe) > 0 {
		run.paymentsHash, err = r.resolve(ctx, run, run.refs.Stripe)
	}
	return err
}

// generateCredentials makes what a store needs and nobody has to choose, once.
func (r *Reconciler) generateCredentials(ctx context.Context, run *run) error {
	s := run.store
	wanted := []struct {
		secret *corev1.Secret
		claim  string
	}{
		{plan.Credentials(s, "sk_live_"+randomText(), randomText()), ""},
		{plan.PostgresCredentials(s, randomText()), plan.PostgresClaim(s.Name)},
		{plan.RedisCredentials(s, randomText()), ""},
	}
	for _, w := range wanted {
		if w.secret == nil {
			continue
		}
		if err := r.generateOnce(ctx, run, w.secret, w.claim); err != nil {
			return err
		}
	}
	f, err := r.secret(ctx, s, run.refs.Credentials.Name)
	if err != nil {
		return err
	}
	if f == nil {
		return outcome.Waiting(v1alpha1.ReasonProgressing, 0, "Secret %s was just made", run.refs.Credentials.Name)
	}
	run.salt = f.sums[run.refs.Credentials.Key]
	return nil
}

// generateOnce creates a Secret unless it is there. It refuses to invent a new
// password for data that an old one opens.
func (r *Reconciler) generateOnce(ctx context.Context, run *run, secret *corev1.Secret, claim string) error {
	existing, err := get(ctx, r.Client, secret.Namespace, secret.Name, secretMetadata())
	if err != nil {
		return err
	}
	if existing != nil {
		return ofStore(run.store, "Secret", existing)
	}
	if run.store.Spec.Paused {
		return nil
	}
	if claim != "" {
		volume := &metav1.PartialObjectMetadata{}
		volume.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))
		volume, err := get(ctx, r.Live, secret.Namespace, claim, volume)
		if err != nil {
			return err
		}
		if volume != nil && volume.DeletionTimestamp.IsZero() {
			return outcome.Terminal(v1alpha1.ReasonCredentialsLost, "the volume %s holds a database whose password was in Secret %s, which is gone: restore the Secret from a backup, or delete the volume to begin anew without its data", claim, secret.Name)
		}
	}
	err = r.Applier.Adopt(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return outcome.Waiting(v1alpha1.ReasonProgressing, 2*time.Second, "Secret %s exists but is not in the cache yet", secret.Name)
	}
	return err
}

// ofStore is for what nobody owns and labels tell of: it fails where the
// object is not the Store's.
func ofStore(s *v1alpha1.Store, kind string, o client.Object) error {
	if labels := o.GetLabels(); labels[plan.LabelManagedBy] != plan.Manager || labels[plan.LabelInstance] != s.Name {
		return outcome.Terminal(v1alpha1.ReasonNameTaken, "%s %s exists and does not belong to this Store: delete or rename it, or name the Store otherwise", kind, o.GetName())
	}
	return nil
}

// randomText is 256 bits from the system's source, safe in a URL.
func randomText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // It never fails: crypto/rand ends the program instead.
	return base64.RawURLEncoding.EncodeToString(b)
}
