package secure

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// RedirectToHTTPS answers plain HTTP with 308 to the same place over HTTPS: on
// the host that was asked for where it is one of domains, else on the
// canonical one, so that a forged Host header leads nowhere else. Requests
// that a trusted proxy took over HTTPS go to next.
func RedirectToHTTPS(canonical *url.URL, domains []string, current func() *Settings, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if current().proxies.HTTPS(r) {
			next.ServeHTTP(w, r)
			return
		}
		target := url.URL{Scheme: "https", Host: canonical.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
		if host := hostname(r.Host); slices.Contains(domains, host) {
			target.Host = host
			if port := canonical.Port(); port != "" {
				target.Host = net.JoinHostPort(host, port)
			}
		}
		w.Header().Set("Location", target.String())
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
