package redisdb

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"gitee.com/captainjez/gocart/runtime/config"
)

const (
	// masterParameter has a URL name Sentinels, clusterParameter nodes of a
	// Cluster; so does a second addressParameter.
	masterParameter  = "master_name"
	clusterParameter = "cluster"
	addressParameter = "addr"
)

// elsewhere are parameters that would have replicas asked, which do not know yet
// what was just written.
var elsewhere = []string{"read_only", "route_by_latency", "route_randomly", "replica_only", "use_disconnected_replicas"}

// newClient is one of the server, the Sentinels or the Cluster that the URL
// names. It does not connect. No error quotes the URL, which has a password.
func newClient(c config.Redis) (redis.UniversalClient, error) {
	raw, err := os.ReadFile(c.URLFile)
	if err != nil {
		return nil, fmt.Errorf("redis.urlFile: %w", err)
	}
	u, err := url.Parse(strings.TrimSpace(string(raw)))
	if err != nil { // which would quote it
		return nil, fmt.Errorf("redis.urlFile: %s holds no URL", c.URLFile)
	}
	parameters := u.Query()
	for _, name := range elsewhere {
		if parameters.Has(name) {
			return nil, fmt.Errorf("redis.urlFile: the URL asks for %s, but a store must read what it wrote; remove that", name)
		}
	}
	roots, err := rootsOf(c, u.Scheme)
	if err != nil {
		return nil, err
	}
	cluster := parameters.Get(clusterParameter)
	switch {
	case cluster != "" && cluster != "true":
		return nil, fmt.Errorf("redis.urlFile: %s must be true or left out", clusterParameter)
	case cluster == "true" && parameters.Has(masterParameter):
		return nil, fmt.Errorf("redis.urlFile: the URL has both %s, for Sentinels, and %s, for a Cluster; remove one", masterParameter, clusterParameter)
	case parameters.Has(masterParameter):
		return sentinels(c, u, roots)
	case cluster == "true" || parameters.Has(addressParameter):
		return nodes(c, u, roots)
	}
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("redis.urlFile: %s holds no URL of the form redis://user:password@host:6379/0", c.URLFile)
	}
	verify(o.TLSConfig, roots)
	o.ContextTimeoutEnabled = true
	o.MaxRetries, o.DialerRetries = -1, 1 // the probe is the retry
	o.DisableIdentity = true
	o.MaintNotificationsConfig = noNotifications()
	return redis.NewClient(o), nil
}

// sentinels gives a client of whichever server they say is the master.
func sentinels(c config.Redis, u *url.URL, roots *x509.CertPool) (redis.UniversalClient, error) {
	o, err := redis.ParseFailoverURL(u.String())
	if err != nil || o.MasterName == "" {
		return nil, fmt.Errorf("redis.urlFile: %s holds no URL of the form redis://sentinel:26379/0?master_name=mymaster&username=user&password=password&addr=sentinel2:26379", c.URLFile)
	}
	verify(o.TLSConfig, roots)
	byOwnName(o.TLSConfig)
	o.ContextTimeoutEnabled = true
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DisableIdentity = true
	return redis.NewFailoverClient(o), nil
}

// nodes gives a client of a Cluster, of which they are some.
func nodes(c config.Redis, u *url.URL, roots *x509.CertPool) (redis.UniversalClient, error) {
	if db := strings.Trim(u.Path, "/"); db != "" && db != "0" {
		return nil, errors.New("redis.urlFile: a Cluster has the database 0 only; end the URL's path with /0 or nothing")
	}
	one, parameters := *u, u.Query()
	parameters.Del(clusterParameter)
	one.Path, one.RawQuery = "", parameters.Encode()
	o, err := redis.ParseClusterURL(one.String())
	if err != nil {
		return nil, fmt.Errorf("redis.urlFile: %s holds no URL of the form redis://user:password@node:6379?cluster=true&addr=node2:6379", c.URLFile)
	}
	verify(o.TLSConfig, roots)
	byOwnName(o.TLSConfig)
	o.ContextTimeoutEnabled = true
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DisableIdentity = true
	o.MaintNotificationsConfig = noNotifications()
	return redis.NewClusterClient(o), nil
}

func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// rootsOf are the certificates that servers' must chain to, nil for those that
// everybody trusts.
func rootsOf(c config.Redis, scheme string) (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("redis.caFile: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("redis.caFile: %s holds no PEM certificate", c.CAFile)
	}
	if scheme != "rediss" {
		return nil, errors.New("redis.caFile: needs a rediss:// URL")
	}
	return roots, nil
}

// verify completes a URL's TLS, nil for none.
func verify(t *tls.Config, roots *x509.CertPool) {
	if t != nil {
		t.MinVersion, t.RootCAs = tls.VersionTLS12, roots
	}
}

// byOwnName has each server's certificate be for the server's own name, and not
// for that of the first.
func byOwnName(t *tls.Config) {
	if t != nil {
		t.ServerName = ""
	}
}
