package plan

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/runtime/config"
)

// Where the runtime's pods find their files.
const (
	configDir   = "/etc/gocart/config"
	configFile  = configDir + "/" + configKey
	edgeFile    = configDir + "/" + edgeKey
	databaseDir = "/etc/gocart/database"
	redisDir    = "/etc/gocart/redis"
	tlsDir      = "/etc/gocart/tls"
	authDir     = "/etc/gocart/auth"
	mailDir     = "/etc/gocart/mail"
	stripeDir   = "/etc/gocart/stripe"
	reportsDir  = "/var/lib/gocart/reports"

	configKey   = "config.yaml"
	edgeKey     = "edge.yaml"
	uriKey      = "uri"
	urlKey      = "url"
	caKey       = "ca.crt"
	adminKeyKey = "adminKey"
	tokenKeyKey = "tokenKey"
	apiKeyKey   = "apiKey"
)

// webhookSecretKey is the file of the n-th secret of Stripe's events.
func webhookSecretKey(n int) string { return "webhookSecret" + strconv.Itoa(n) }

// Ports of the runtime's pods.
const (
	httpsPort = 8443
	httpPort  = 8080
	// InternalPort holds health, metrics and status.
	InternalPort = 9090
)

// drainTimeout is how long a stopping pod finishes requests in flight.
const drainTimeout = 20 * time.Second

// configMap renders the runtime's configuration. Its second value is the hash
// of config.yaml, a change of which needs new processes; edge.yaml, which they
// read again in place, has no part in it.
func configMap(in Input) (*corev1.ConfigMap, string, error) {
	raw, err := runtimeConfig(in).Marshal()
	if err != nil {
		return nil, "", err
	}
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: meta(in, "config", "config"),
		Data:       map[string]string{configKey: string(raw), edgeKey: string(in.Edge.Raw)},
	}, Hash(string(raw))[:16], nil
}

func runtimeConfig(in Input) config.Config {
	spec := in.Store.Spec
	c := config.Default()
	c.EdgeFile = edgeFile
	c.Store = config.Store{Name: in.Store.Name, Namespace: in.Store.Namespace, URL: URL(in.Store), Domains: spec.Domains, Mode: c.Store.Mode, Locale: orElse(spec.Locale, c.Store.Locale)}
	c.Server.Public.Address = listenAddress(httpPort)
	c.Server.Internal.Address = listenAddress(InternalPort)
	c.Server.DrainTimeout = config.Duration(drainTimeout)
	if !TLSDisabled(in.Store) {
		c.Server.Public.TLS = &config.TLS{
			Address:    listenAddress(httpsPort),
			CertFile:   tlsDir + "/" + corev1.TLSCertKey,
			KeyFile:    tlsDir + "/" + corev1.TLSPrivateKeyKey,
			MinVersion: orElse(spec.TLS.MinVersion, "1.3"),
		}
	}
	c.Database = config.Database{URIFile: databaseDir + "/" + uriKey, MaxConnections: ConnectionsOf(in.Store).Pool}
	if _, ca := databaseSecrets(in); ca != nil {
		c.Database.CAFile = databaseDir + "/" + caKey
	}
	c.Redis = &config.Redis{URLFile: redisDir + "/" + urlKey}
	if e := spec.Redis.External; e != nil && e.CASecretRef != nil {
		c.Redis.CAFile = redisDir + "/" + caKey
	}
	if s := spec.Cache; s != nil {
		c.Cache.Enabled = orDefault(s.Enabled, c.Cache.Enabled)
		if s.TTL != nil {
			c.Cache.TTL = config.Duration(s.TTL.Duration)
		}
	}
	c.Worker = Worker(in.Store)
	c.Auth = config.Auth{AdminKeyFile: authDir + "/" + adminKeyKey, TokenKeyFile: authDir + "/" + tokenKeyKey}
	if spec.Mode == v1alpha1.StoreModeDevelopment {
		c.Store.Mode = config.ModeDevelopment
		c.Payments.Test = spec.Payments != nil && spec.Payments.Test != nil && orDefault(spec.Payments.Test.Enabled, false)
	}
	if p := spec.Payments; p != nil && p.ReconcileWindow != nil {
		c.Payments.ReconcileWindow = config.Duration(p.ReconcileWindow.Duration)
	}
	if s := stripeOf(in.Store); s != nil {
		c.Payments.Stripe = &config.Stripe{APIKeyFile: stripeDir + "/" + apiKeyKey, PublishableKey: s.PublishableKey, APIBase: s.APIBase}
		for i := range s.WebhookSecretRefs {
			c.Payments.Stripe.WebhookSecretFiles = append(c.Payments.Stripe.WebhookSecretFiles, stripeDir+"/"+webhookSecretKey(i))
		}
	}
	if m := spec.Mail; m != nil {
		c.Mail = &config.Mail{URLFile: mailDir + "/" + urlKey, From: m.From, Staff: m.Staff}
	}
	if spec.Reports != nil {
		c.Reports = &config.Reports{Dir: reportsDir}
	}
	if w := spec.Webhooks; w != nil {
		c.Webhooks.AllowPrivateAddresses = orDefault(w.AllowPrivateAddresses, false)
	}
	if o := spec.Observability; o != nil && o.LogLevel != "" {
		c.Log.Level = o.LogLevel
	}
	return c
}

// stripeOf is a store's account at Stripe, nil for none.
func stripeOf(s *v1alpha1.Store) *v1alpha1.StripePaymentsSpec {
	if s.Spec.Payments == nil {
		return nil
	}
	return s.Spec.Payments.Stripe
}

// Worker is what the runtime's worker pods are told.
func Worker(s *v1alpha1.Store) config.Worker {
	w, spec := config.Default().Worker, s.Spec.Worker
	if spec.Workers != nil {
		w.Workers = int(*spec.Workers)
	}
	if spec.Concurrency != nil {
		w.Concurrency = int(*spec.Concurrency)
	}
	if len(spec.Queues) > 0 {
		w.Queues = nil
		for _, q := range spec.Queues {
			w.Queues = append(w.Queues, string(q))
		}
	}
	return w
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
