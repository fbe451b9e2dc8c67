// Package config is the one schema of the runtime's configuration.
//
// The operator renders it (Marshal) and the runtime reads it (Load), so the
// two cannot disagree. It has two files: a Config needs a new process when it
// changes, an Edge is swapped in place. Neither holds a secret: they name
// files that do. Reading is strict: an unknown or repeated key is an error
// that names the key. The package imports nothing of the rest of the project.
package config

import (
	"errors"
	"fmt"
	"net/mail"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Config is everything that `gocart api`, `worker` and `migrate` read.
type Config struct {
	Store    Store    `json:"store"`
	Server   Server   `json:"server"`
	Database Database `json:"database"`
	// Redis is optional: without it the store caches nothing and serves on.
	Redis  *Redis `json:"redis,omitempty"`
	Cache  Cache  `json:"cache"`
	Worker Worker `json:"worker"`
	Auth   Auth   `json:"auth"`
	// Payments says how buyers may pay, beside what is paid outside of the store.
	Payments Payments `json:"payments"`
	// Mail is optional: without it the store tells nobody anything by mail.
	Mail *Mail `json:"mail,omitempty"`
	// Reports is optional: without it the store writes none.
	Reports *Reports `json:"reports,omitempty"`
	Carts   Carts    `json:"carts"`
	// Webhooks says where others may be told of events.
	Webhooks Webhooks `json:"webhooks"`
	Log      Log      `json:"log"`
	// EdgeFile holds an Edge, which may change while the process runs. Without
	// it DefaultEdge is in force.
	EdgeFile string `json:"edgeFile,omitempty"`
}

// Store says whose runtime this is.
type Store struct {
	// Name and Namespace are those of the Store object; they label metrics and
	// prefix every Redis key.
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// URL is the canonical public URL, without a trailing slash.
	URL string `json:"url"`
	// Domains are the hosts that the store answers to, the canonical one first.
	Domains []string `json:"domains,omitempty"`
	// Mode is ModeProduction, or ModeDevelopment in which test API keys and
	// test payments are taken.
	Mode string `json:"mode"`
	// Locale is the language that the store speaks where a customer has named
	// none: a tag of BCP 47 such as "de" or "pt-BR".
	Locale string `json:"locale"`
}

// The modes of a store.
const (
	ModeProduction  = "production"
	ModeDevelopment = "development"
)

// Server holds the listeners.
type Server struct {
	Public   PublicListener `json:"public"`
	Internal Listener       `json:"internal"`
	// DrainTimeout bounds how long a stopping process waits for requests in flight.
	DrainTimeout Duration `json:"drainTimeout"`
}

// Listener is one TCP address.
type Listener struct {
	// Address is host:port or :port.
	Address string `json:"address"`
}

// PublicListener serves the API. With TLS it speaks HTTPS (HTTP/2 and 1.1) on
// TLS.Address and, on Address, answers plain HTTP with a redirect, save for
// requests that a trusted proxy says came to it over HTTPS. Without TLS the
// API is served on Address.
type PublicListener struct {
	Address string `json:"address"`
	TLS     *TLS   `json:"tls,omitempty"`
}

// TLS names the certificate, which is reloaded in place when its files change.
type TLS struct {
	Address  string `json:"address"`
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
	// MinVersion is "1.2" or "1.3".
	MinVersion string `json:"minVersion"`
}

// Database is PostgreSQL.
type Database struct {
	// URIFile holds a libpq connection URI with its password.
	URIFile string `json:"uriFile"`
	// CAFile, when set, holds the PEM certificates that the server's
	// certificate must chain to; the connection is then verified in full.
	CAFile string `json:"caFile,omitempty"`
	// MaxConnections bounds this process's pool.
	MaxConnections int32 `json:"maxConnections"`
}

// Redis holds only what may be lost.
type Redis struct {
	// URLFile holds a redis:// or rediss:// URL with its password, of a server,
	// of a Cluster (?cluster=true) or of Sentinels (?master_name=NAME).
	URLFile string `json:"urlFile"`
	CAFile  string `json:"caFile,omitempty"`
}

// Cache holds encoded answers to catalogue queries, in Redis and in memory
// before it.
type Cache struct {
	Enabled bool `json:"enabled"`
	// TTL bounds how old an answer may be when an invalidation was missed.
	TTL Duration `json:"ttl"`
}

// Worker runs background jobs: Workers times Concurrency of each queue at once.
type Worker struct {
	// Workers is how many workers one process holds for each queue.
	Workers int `json:"workers"`
	// Concurrency is how many jobs one worker works at once.
	Concurrency int `json:"concurrency"`
	// Queues are the queues served: high, normal and low, or some of them.
	Queues []string `json:"queues"`
}

// The job queues.
const (
	QueueHigh   = "high"
	QueueNormal = "normal"
	QueueLow    = "low"
)

// Queues are the job queues, the most urgent first.
func Queues() []string { return []string{QueueHigh, QueueNormal, QueueLow} }

// Auth names the secrets that authorise callers.
type Auth struct {
	// AdminKeyFile holds the first API key, which may do everything.
	AdminKeyFile string `json:"adminKeyFile"`
	// TokenKeyFile holds the secret, 32 characters or more, that signs access
	// tokens and cart tokens. Another one ends every session.
	TokenKeyFile string `json:"tokenKeyFile"`
}

// Payments are the providers that the store loads.
type Payments struct {
	// Test loads the provider that takes no money; in ModeDevelopment only.
	Test bool `json:"test,omitempty"`
	// Stripe is optional: cards and whatever else the account at Stripe takes.
	Stripe *Stripe `json:"stripe,omitempty"`
	// ReconcileWindow is how far back payments are compared with their
	// providers, once a day.
	ReconcileWindow Duration `json:"reconcileWindow"`
}

// Stripe is the store's account at Stripe.
type Stripe struct {
	// APIKeyFile holds the secret key (sk_…), or a restricted one (rk_…) that
	// may write payment intents and refunds and read charges and disputes.
	APIKeyFile string `json:"apiKeyFile"`
	// WebhookSecretFiles hold what Stripe signs its events with (whsec_…): one
	// secret each, and two while one takes the place of another. Without any the
	// store hears of no event.
	WebhookSecretFiles []string `json:"webhookSecretFiles,omitempty"`
	// PublishableKey (pk_…) is told to buyers, for Stripe's form.
	PublishableKey string `json:"publishableKey,omitempty"`
	// APIBase is another URL than Stripe's own, for trying; in ModeDevelopment only.
	APIBase string `json:"apiBase,omitempty"`
}

// Mail says how the store sends mail.
type Mail struct {
	// URLFile holds smtp://user:password@host:587, which must offer STARTTLS
	// unless the URL ends with ?tls=none, or smtps://user:password@host:465.
	URLFile string `json:"urlFile"`
	// CAFile, when set, holds the PEM certificates that the server's
	// certificate must chain to, instead of those that everybody trusts.
	CAFile string `json:"caFile,omitempty"`
	// From is the sender, such as "Demo shop <shop@example.com>".
	From string `json:"from"`
	// Staff are the addresses that are told what somebody has to see to, such
	// as stock that runs low.
	Staff []string `json:"staff,omitempty"`
	// Timeout is how long the server may take to answer; a minute where it is
	// 0. One that looks through a mail before it takes it may need that.
	Timeout Duration `json:"timeout,omitempty"`
}

// Reports says where the store writes its reports.
type Reports struct {
	// Dir is a folder that outlives the process.
	Dir string `json:"dir"`
}

// Carts says what becomes of those that buyers leave.
type Carts struct {
	// ReminderAfter is for how long a cart has not been touched when its buyer
	// is reminded of it by mail; 0 for no reminders.
	ReminderAfter Duration `json:"reminderAfter"`
}

// Webhooks says where others may be told of events.
type Webhooks struct {
	// AllowPrivateAddresses has endpoints in one's own network told too, also by
	// plain HTTP, but none at link-local addresses, and at loopback only in
	// ModeDevelopment. Whoever may name endpoints can then reach what the store's
	// pods can.
	AllowPrivateAddresses bool `json:"allowPrivateAddresses,omitempty"`
}

var localePattern = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

// IsLocale reports whether a tag has the form of BCP 47: en, de-AT, zh-Hant-TW.
func IsLocale(tag string) bool { return len(tag) <= 35 && localePattern.MatchString(tag) }

// Log says how much is written to standard error, as JSON lines.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `json:"level"`
}

// Duration is a time.Duration written as "1m30s".
type Duration time.Duration

// MarshalJSON writes the duration as time.Duration.String does.
func (d Duration) MarshalJSON() ([]byte, error) {
	return []byte(`"` + time.Duration(d).String() + `"`), nil
}

// UnmarshalJSON reads what time.ParseDuration reads.
func (d *Duration) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' {
		return fmt.Errorf("a duration is a string such as \"30s\", not %s", b)
	}
	v, err := time.ParseDuration(string(b[1 : len(b)-1]))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Default returns a configuration with every default set; what only the
// deployment knows (the store, files) is empty.
func Default() Config {
	return Config{
		Store: Store{Mode: ModeProduction, Locale: "en"},
		Server: Server{
			Public:       PublicListener{Address: ":8080"},
			Internal:     Listener{Address: ":9090"},
			DrainTimeout: Duration(20 * time.Second),
		},
		Database: Database{MaxConnections: 10},
		Cache:    Cache{Enabled: true, TTL: Duration(30 * time.Second)},
		Worker:   Worker{Workers: 10, Concurrency: 5, Queues: Queues()},
		Payments: Payments{ReconcileWindow: Duration(3 * 24 * time.Hour)},
		Carts:    Carts{ReminderAfter: Duration(4 * time.Hour)},
		Log:      Log{Level: "info"},
	}
}

// localeForm is the part of BCP 47 that names a language and perhaps a region.
var localeForm = regexp.MustCompile(`^[a-z]{2,3}(-([A-Z]{2}|[0-9]{3}))?$`)

var publishableKey = regexp.MustCompile(`^pk_[A-Za-z0-9_]+$`)

// maxReconcileWindow is as long as a card payment may be disputed.
const maxReconcileWindow = 90 * 24 * time.Hour

// maxReminderAfter is less than the month for which a cart is kept.
const maxReminderAfter = 14 * 24 * time.Hour

// Load reads a YAML file over the defaults and validates it. The error names
// the file and, for an unknown key, the key.
func Load(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration: %w", err)
	}
	c, err := Parse(raw)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Parse is Load on bytes.
func Parse(raw []byte) (Config, error) {
	c := Default()
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Marshal renders what differs from Default.
func (c Config) Marshal() ([]byte, error) { return marshal(c, Default()) }

// Validate reports every broken rule at once, each with the key it is about.
func (c Config) Validate() error {
	var broken findings
	require := broken.require
	require(c.Store.Name != "", "store.name: must not be empty")
	require(c.Store.URL != "", "store.url: must not be empty")
	require(c.Store.Mode == ModeProduction || c.Store.Mode == ModeDevelopment, "store.mode: must be production or development, not %q", c.Store.Mode)
	require(localeForm.MatchString(c.Store.Locale), "store.locale: must be a language, or a language and a region, such as de or pt-BR, not %q", c.Store.Locale)
	require(c.Server.Public.Address != "", "server.public.address: must not be empty")
	require(c.Server.Internal.Address != "", "server.internal.address: must not be empty")
	require(c.Server.DrainTimeout > 0, "server.drainTimeout: must be above zero")
	if t := c.Server.Public.TLS; t != nil {
		require(t.Address != "", "server.public.tls.address: must not be empty")
		require(t.CertFile != "" && t.KeyFile != "", "server.public.tls: certFile and keyFile must both be set")
		require(t.MinVersion == "1.2" || t.MinVersion == "1.3", "server.public.tls.minVersion: must be 1.2 or 1.3, not %q", t.MinVersion)
	}
	require(c.Database.URIFile != "", "database.uriFile: must not be empty")
	require(c.Database.MaxConnections > 0, "database.maxConnections: must be above zero")
	if c.Redis != nil {
		require(c.Redis.URLFile != "", "redis.urlFile: must not be empty")
	}
	require(c.Cache.TTL > 0, "cache.ttl: must be above zero")
	require(c.Worker.Workers > 0, "worker.workers: must be above zero")
	require(c.Worker.Concurrency > 0, "worker.concurrency: must be above zero")
	require(len(c.Worker.Queues) > 0, "worker.queues: name at least one of %s", strings.Join(Queues(), ", "))
	for _, q := range c.Worker.Queues {
		require(slices.Contains(Queues(), q), "worker.queues: %q is not one of %s", q, strings.Join(Queues(), ", "))
	}
	require(!c.Payments.Test || c.Store.Mode == ModeDevelopment, "payments.test: the test provider takes no money and is refused in production; "+
		"leave it out, or set store.mode to development")
	require(c.Payments.ReconcileWindow >= Duration(time.Hour) && c.Payments.ReconcileWindow <= Duration(maxReconcileWindow),
		"payments.reconcileWindow: must be 1h to %s", maxReconcileWindow)
	if s := c.Payments.Stripe; s != nil {
		require(s.APIKeyFile != "", "payments.stripe.apiKeyFile: must not be empty")
		require(len(s.WebhookSecretFiles) <= 2, "payments.stripe.webhookSecretFiles: at most two, of which one takes the place of the other")
		require(!slices.Contains(s.WebhookSecretFiles, ""), "payments.stripe.webhookSecretFiles: must name files")
		require(s.PublishableKey == "" || publishableKey.MatchString(s.PublishableKey), "payments.stripe.publishableKey: must begin with pk_: "+
			"the other keys are secrets, and are told to nobody")
		require(s.APIBase == "" || c.Store.Mode == ModeDevelopment, "payments.stripe.apiBase: is refused in production; leave it out")
	}
	if m := c.Mail; m != nil {
		require(m.URLFile != "", "mail.urlFile: must not be empty")
		_, err := mail.ParseAddress(m.From)
		require(err == nil, "mail.from: %q is not an address such as shop@example.com", m.From)
		for _, address := range m.Staff {
			a, err := mail.ParseAddress(address)
			require(err == nil && a.Address == address, "mail.staff: %q is not a bare address such as ada@example.com", address)
		}
		require(m.Timeout >= 0, "mail.timeout: must not be below zero")
	}
	if c.Reports != nil {
		require(c.Reports.Dir != "", "reports.dir: must not be empty")
	}
	require(c.Carts.ReminderAfter >= 0 && c.Carts.ReminderAfter <= Duration(maxReminderAfter), "carts.reminderAfter: must be 0s, for no reminders, to %s", maxReminderAfter)
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		require(false, "log.level: must be debug, info, warn or error, not %q", c.Log.Level)
	}
	return errors.Join(broken...)
}
