package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Edge is what stands between a caller and the store's commerce: whom to
// believe about addresses, what is sent with every answer, and how much
// anybody may ask for. The runtime reads its file again whenever it changes,
// and goes on with the one before where the new one is wrong.
type Edge struct {
	// TrustedProxies are CIDRs whose word about a request is believed, and
	// ForwardedHeader is how they give it: ForwardedX or ForwardedStandard. The
	// other header is not looked at, for proxies hand on what they do not set.
	TrustedProxies  []string `json:"trustedProxies,omitempty"`
	ForwardedHeader string   `json:"forwardedHeader"`
	Security        Security `json:"security"`
	Limits          Limits   `json:"limits"`
}

// Security holds what is sent with every public answer.
type Security struct {
	HSTS    *HSTS   `json:"hsts,omitempty"`
	Headers Headers `json:"headers"`
	CORS    *CORS   `json:"cors,omitempty"`
}

// HSTS is the Strict-Transport-Security header (RFC 6797), sent over HTTPS only.
type HSTS struct {
	MaxAgeSeconds     int64 `json:"maxAgeSeconds"`
	IncludeSubDomains bool  `json:"includeSubDomains"`
	Preload           bool  `json:"preload"`
}

// Headers are response headers; an empty value leaves that header out, and is
// written, for a key left out stands for its default.
type Headers struct {
	ContentSecurityPolicy     string `json:"contentSecurityPolicy"`
	FrameOptions              string `json:"frameOptions"`
	ReferrerPolicy            string `json:"referrerPolicy"`
	PermissionsPolicy         string `json:"permissionsPolicy"`
	CrossOriginOpenerPolicy   string `json:"crossOriginOpenerPolicy"`
	CrossOriginResourcePolicy string `json:"crossOriginResourcePolicy"`
	XSSProtection             string `json:"xssProtection"`
}

// DefaultHeaders are sent unless the Store says otherwise.
func DefaultHeaders() Headers {
	return Headers{
		ContentSecurityPolicy:     "default-src 'self'",
		FrameOptions:              "DENY",
		ReferrerPolicy:            "strict-origin-when-cross-origin",
		PermissionsPolicy:         "camera=(), geolocation=(), microphone=(), payment=(self)",
		CrossOriginOpenerPolicy:   "same-origin",
		CrossOriginResourcePolicy: "same-site",
		XSSProtection:             "0",
	}
}

// CORS lists the origins whose pages may call the API (the Fetch standard).
type CORS struct {
	// AllowedOrigins are scheme://host[:port], or the single word "*".
	AllowedOrigins   []string `json:"allowedOrigins"`
	AllowCredentials bool     `json:"allowCredentials,omitempty"`
	// MaxAge is how long a browser may keep a preflight's answer.
	MaxAge Duration `json:"maxAge"`
}

// Limits say how much callers may ask for. A request counts in the windows of
// who sent it: of its API key where it shows a valid one, of the customer who
// is signed in where Customer has windows, else of its address (IPv6 by /64).
// It counts besides in Global, and in the windows of every rule that it
// matches. All of them have room for it, or it is refused and counts in none.
type Limits struct {
	Address  []Window `json:"address"`
	APIKey   []Window `json:"apiKey"`
	Customer []Window `json:"customer"`
	// Global is for all callers together.
	Global []Window `json:"global"`
	Rules  []Rule   `json:"rules,omitempty"`
	// Block and Allow are CIDRs: what is in Block is answered 403, what is in
	// Allow is never limited. Block wins.
	Block []string `json:"block,omitempty"`
	Allow []string `json:"allow,omitempty"`
	// Consistency is ConsistencyStrict or ConsistencyLeased.
	Consistency string `json:"consistency"`
	// FailureMode says what is done while Redis is away: FailureLocal,
	// FailureOpen or FailureClosed.
	FailureMode string     `json:"failureMode"`
	Protection  Protection `json:"protection"`
}

// Headers of trusted proxies.
const (
	// ForwardedX is X-Forwarded-For and X-Forwarded-Proto.
	ForwardedX = "X-Forwarded-For"
	// ForwardedStandard is Forwarded (RFC 7239).
	ForwardedStandard = "Forwarded"
)

// Consistencies and failure modes.
const (
	// ConsistencyStrict asks Redis for every request: exact across replicas.
	ConsistencyStrict = "strict"
	// ConsistencyLeased takes quota in batches and decides in memory.
	ConsistencyLeased = "leased"

	// FailureLocal has each replica count alone.
	FailureLocal = "local"
	// FailureOpen lets everything pass.
	FailureOpen = "open"
	// FailureClosed refuses what would have been counted, with 503.
	FailureClosed = "closed"
)

// Window is at most Requests within Period, which begins with the first
// request that counts.
type Window struct {
	Requests int64    `json:"requests"`
	Period   Duration `json:"period"`
}

// UnmarshalJSON reads a window whole: none of its parts is left from another.
func (w *Window) UnmarshalJSON(b []byte) error {
	type plain Window
	var p plain
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return fmt.Errorf("a window is {requests, period}: %w", err)
	}
	*w = Window(p)
	return nil
}

// Rule treats some requests in another way. Where several match, the windows
// of all of them count, and the highest cost is taken.
type Rule struct {
	// Name is unique; it is what answers, metrics and Redis keys call the rule.
	Name string `json:"name"`
	// Paths, Methods and Identities narrow what matches; empty ones match all.
	Paths      []Path   `json:"paths,omitempty"`
	Methods    []string `json:"methods,omitempty"`
	Identities []string `json:"identities,omitempty"`
	// Windows are counted for each identity apart, or together.
	Windows  []Window `json:"windows,omitempty"`
	Together bool     `json:"together,omitempty"`
	// Cost is what one request takes from every window; zero is one.
	Cost int64 `json:"cost,omitempty"`
	// Shadow counts and reports, refuses nothing, and costs nothing more.
	Shadow bool `json:"shadow,omitempty"`
	// Disabled frees what matches from all limits.
	Disabled bool `json:"disabled,omitempty"`
}

// Path matches the path of a request, in which /api/v1 may be left out.
type Path struct {
	// Type is PathExact or PathPrefix; a prefix ends at a slash.
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Types of a path, and identities.
const (
	PathExact  = "exact"
	PathPrefix = "prefix"

	IdentityAddress  = "address"
	IdentityAPIKey   = "apiKey"
	IdentityCustomer = "customer"
)

// Protection is what is done against more load than the store can bear.
type Protection struct {
	// Mode is ProtectionOff, ProtectionAuto or ProtectionOn.
	Mode string `json:"mode"`
	// MaxInFlight bounds the requests of one address at the same time, while
	// the store is under attack.
	MaxInFlight int `json:"maxInFlight"`
	// BanAfter is how many requests of an address are refused within a minute
	// before it is banned, while the store is under attack, and BanFor for how long.
	BanAfter int64    `json:"banAfter"`
	BanFor   Duration `json:"banFor"`
}

// Modes of protection.
const (
	// ProtectionOff only ever limits.
	ProtectionOff = "off"
	// ProtectionAuto begins by itself and ends by itself.
	ProtectionAuto = "auto"
	// ProtectionOn is as under attack, always.
	ProtectionOn = "on"
)

// DefaultLimits are in force unless a RateLimitPolicy says otherwise.
func DefaultLimits() Limits {
	return Limits{
		Address:     []Window{{60, Duration(time.Minute)}, {1000, Duration(time.Hour)}, {10000, Duration(24 * time.Hour)}},
		APIKey:      []Window{{1000, Duration(time.Minute)}},
		Consistency: ConsistencyStrict,
		FailureMode: FailureLocal,
		Protection:  Protection{Mode: ProtectionAuto, MaxInFlight: 10, BanAfter: 300, BanFor: Duration(10 * time.Minute)},
	}
}

// DefaultEdge has every default set.
func DefaultEdge() Edge {
	return Edge{ForwardedHeader: ForwardedX, Security: Security{Headers: DefaultHeaders()}, Limits: DefaultLimits()}
}

// ParseEdge reads YAML over the defaults and validates it.
func ParseEdge(raw []byte) (Edge, error) {
	e := DefaultEdge()
	if err := yaml.UnmarshalStrict(raw, &e); err != nil {
		return Edge{}, err
	}
	if err := e.Validate(); err != nil {
		return Edge{}, err
	}
	return e, nil
}

// Marshal renders what differs from DefaultEdge.
func (e Edge) Marshal() ([]byte, error) { return marshal(e, DefaultEdge()) }

// EdgeHash names a rendered Edge: what the operator wrote is in force where the
// runtime tells the same.
func EdgeHash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])[:16]
}

const (
	maxWindows = 4
	maxPeriod  = 31 * 24 * time.Hour
)

// Validate reports every broken rule at once, each with the key it is about.
func (e Edge) Validate() error {
	var broken findings
	require := broken.require
	cidrs := func(key string, list []string) {
		for _, s := range list {
			_, err := netip.ParsePrefix(s)
			require(err == nil, "%s: %q is not a CIDR such as 10.0.0.0/8", key, s)
		}
	}
	cidrs("trustedProxies", e.TrustedProxies)
	if o := e.Security.CORS; o != nil {
		require(len(o.AllowedOrigins) > 0, "security.cors.allowedOrigins: name at least one origin")
		require(!slices.Contains(o.AllowedOrigins, "*") || !o.AllowCredentials, "security.cors: allowCredentials needs named origins, not \"*\"")
	}
	oneOf := func(key, value string, of ...string) {
		require(slices.Contains(of, value), "%s: must be one of %s, not %q", key, strings.Join(of, ", "), value)
	}
	oneOf("forwardedHeader", e.ForwardedHeader, ForwardedX, ForwardedStandard)
	l := e.Limits
	windows := func(key string, list []Window) {
		require(len(list) <= maxWindows, "%s: at most %d windows", key, maxWindows)
		for i, w := range list {
			period := time.Duration(w.Period)
			require(w.Requests >= 0, "%s: requests must not be below zero", key)
			require(period >= time.Second && period <= maxPeriod, "%s: a period is between 1s and %s, not %s", key, maxPeriod, period)
			require(!slices.ContainsFunc(list[:i], func(o Window) bool { return o.Period == w.Period }), "%s: two windows have the period %s", key, period)
		}
	}
	windows("limits.address", l.Address)
	windows("limits.apiKey", l.APIKey)
	windows("limits.customer", l.Customer)
	windows("limits.global", l.Global)
	cidrs("limits.block", l.Block)
	cidrs("limits.allow", l.Allow)
	oneOf("limits.consistency", l.Consistency, ConsistencyStrict, ConsistencyLeased)
	oneOf("limits.failureMode", l.FailureMode, FailureLocal, FailureOpen, FailureClosed)
	oneOf("limits.protection.mode", l.Protection.Mode, ProtectionOff, ProtectionAuto, ProtectionOn)
	require(l.Protection.MaxInFlight > 0, "limits.protection.maxInFlight: must be above zero")
	require(l.Protection.BanAfter > 0, "limits.protection.banAfter: must be above zero")
	require(l.Protection.BanFor > 0, "limits.protection.banFor: must be above zero")
	names := map[string]bool{}
	for i, r := range l.Rules {
		key := fmt.Sprintf("limits.rules[%d]", i)
		require(r.Name != "" && !names[r.Name], "%s.name: must be there and unique, not %q", key, r.Name)
		names[r.Name] = true
		require(r.Cost >= 0, "%s.cost: must not be below zero", key)
		for _, p := range r.Paths {
			oneOf(key+".paths.type", p.Type, PathExact, PathPrefix)
			require(strings.HasPrefix(p.Value, "/"), "%s.paths.value: must begin with /, not %q", key, p.Value)
		}
		for _, identity := range r.Identities {
			oneOf(key+".identities", identity, IdentityAddress, IdentityAPIKey, IdentityCustomer)
		}
		windows(key+".windows", r.Windows)
	}
	return errors.Join(broken...)
}
