package plan

import (
	"fmt"
	"time"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/runtime/config"
)

// maxEdge bounds edge.yaml in bytes: a ConfigMap holds 1 MiB (corev1's
// documentation of ConfigMap.data), of which config.yaml has its part.
const maxEdge = 1<<20 - 64<<10

// EdgeFile is the file that the runtime's pods read again in place.
type EdgeFile struct {
	Config config.Edge
	Raw    []byte
	// Hash is what a pod tells that runs it.
	Hash string
	// Verdicts tell of every policy, by name, what became of it.
	Verdicts map[string]Verdict
}

// Edge is what a Store and its RateLimitPolicies, in any order, come to. A
// policy that can not take part is left out, and its verdict says why.
func Edge(s *v1alpha1.Store, policies []v1alpha1.RateLimitPolicy) (EdgeFile, error) {
	file, err := edgeOf(s, judge(policies, nil))
	if err != nil || len(file.Raw) <= maxEdge {
		return file, err
	}
	// Rarely so: the oldest are taken that fit, one after the other.
	return edgeOf(s, judge(policies, func(l config.Limits) (int, error) {
		raw, err := edgeConfig(s, l).Marshal()
		return len(raw), err
	}))
}

func edgeOf(s *v1alpha1.Store, m merged) (EdgeFile, error) {
	c := edgeConfig(s, m.limits)
	raw, err := c.Marshal()
	if err != nil {
		return EdgeFile{}, fmt.Errorf("rendering edge.yaml of Store %s: %w", s.Name, err)
	}
	return EdgeFile{Config: c, Raw: raw, Hash: config.EdgeHash(raw), Verdicts: m.verdicts}, nil
}

func edgeConfig(s *v1alpha1.Store, limits config.Limits) config.Edge {
	e := config.DefaultEdge()
	e.Limits = limits
	if !TLSDisabled(s) {
		e.Security.HSTS = hsts(s.Spec.TLS.HSTS)
	}
	if security := s.Spec.Security; security != nil {
		e.TrustedProxies = security.TrustedProxies
		e.ForwardedHeader = orDefault(security.ForwardedHeader, e.ForwardedHeader)
		e.Security.Headers = headers(security.Headers)
		e.Security.CORS = cors(security.CORS)
	}
	return e
}

func hsts(s *v1alpha1.HSTSSpec) *config.HSTS {
	h := &config.HSTS{MaxAgeSeconds: 31536000, IncludeSubDomains: true}
	if s != nil {
		h.MaxAgeSeconds = orDefault(s.MaxAgeSeconds, h.MaxAgeSeconds)
		h.IncludeSubDomains = orDefault(s.IncludeSubDomains, h.IncludeSubDomains)
		h.Preload = orDefault(s.Preload, false)
	}
	return h
}

func headers(s *v1alpha1.HeadersSpec) config.Headers {
	h := config.DefaultHeaders()
	if s == nil {
		return h
	}
	h.ContentSecurityPolicy = orDefault(s.ContentSecurityPolicy, h.ContentSecurityPolicy)
	h.FrameOptions = orDefault(s.FrameOptions, h.FrameOptions)
	h.ReferrerPolicy = orDefault(s.ReferrerPolicy, h.ReferrerPolicy)
	h.PermissionsPolicy = orDefault(s.PermissionsPolicy, h.PermissionsPolicy)
	h.CrossOriginOpenerPolicy = orDefault(s.CrossOriginOpenerPolicy, h.CrossOriginOpenerPolicy)
	h.CrossOriginResourcePolicy = orDefault(s.CrossOriginResourcePolicy, h.CrossOriginResourcePolicy)
	h.XSSProtection = orDefault(s.XSSProtection, h.XSSProtection)
	return h
}

func cors(s *v1alpha1.CORSSpec) *config.CORS {
	if s == nil {
		return nil
	}
	c := &config.CORS{AllowedOrigins: s.AllowedOrigins, AllowCredentials: s.AllowCredentials, MaxAge: config.Duration(10 * time.Minute)}
	if s.MaxAge != nil {
		c.MaxAge = config.Duration(s.MaxAge.Duration)
	}
	return c
}
