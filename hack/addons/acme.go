package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// management reaches Pebble's second listener through the API server, so that
// it works wherever kubectl does.
const management = "/api/v1/namespaces/acme/services/https:pebble:15000/proxy"

// askPebble reads what its second listener says. A pod that is ready is behind
// its service a moment later.
func askPebble(ctx context.Context, c cluster, path string) (text string, err error) {
	for range 30 {
		if text, err = c.run(ctx, "", "get", "--raw", management+path); err == nil {
			return text, nil
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(time.Second):
		}
	}
	return "", err
}

// rememberRoots returns the CAs that certificates of this ACME server chain to:
// those of now first, then those of before. Pebble makes a new root each time
// it starts, and certificates of the old one stay in use. It keeps them in the
// ConfigMap acme/acme-roots and, when the root is new, sends every issuer of
// this server back for an account, because Pebble forgot those too.
func rememberRoots(ctx context.Context, c cluster) (string, error) {
	var now strings.Builder
	for _, path := range []string{"/roots/0", "/intermediates/0"} {
		text, err := askPebble(ctx, c, path)
		if err != nil {
			return "", fmt.Errorf("asking Pebble for its CA: %w", err)
		}
		now.WriteString(strings.TrimSpace(text) + "\n")
	}
	known, err := c.data(ctx, "configmap", "acme", "acme-roots", "ca.crt")
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(known, now.String()) {
		return known, nil
	}
	all := now.String() + known
	object, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]string{"name": "acme-roots", "namespace": "acme"},
		"data":     map[string]string{"ca.crt": all},
	})
	if err != nil {
		return "", err
	}
	if err := c.apply(ctx, string(object)); err != nil {
		return "", err
	}
	if known == "" {
		return all, nil
	}
	return all, registerAgain(ctx, c)
}

// registerAgain clears what cert-manager remembers of its accounts here.
func registerAgain(ctx context.Context, c cluster) error {
	out, err := c.run(ctx, "", "get", "issuers,clusterissuers", "--all-namespaces", "--output=json")
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Spec     struct{ ACME *struct{ Server string } }
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return err
	}
	for _, issuer := range list.Items {
		if issuer.Spec.ACME == nil || issuer.Spec.ACME.Server != directory {
			continue
		}
		args := []string{"patch", strings.ToLower(issuer.Kind), issuer.Metadata.Name, "--subresource=status", "--type=merge", `--patch={"status":{"acme":null,"conditions":null}}`}
		if issuer.Metadata.Namespace != "" {
			args = append(args, "--namespace="+issuer.Metadata.Namespace)
		}
		if _, err := c.run(ctx, "", args...); err != nil {
			return err
		}
		say("Pebble restarted: %s %s gets a new account", issuer.Kind, issuer.Metadata.Name)
	}
	return nil
}

func printEnv(ctx context.Context, c cluster) error {
	bind, err := c.serviceIP(ctx, "dns", "bind9")
	if err != nil {
		return err
	}
	ingress, err := c.serviceIP(ctx, "haproxy-ingress", "haproxy-ingress")
	if err != nil {
		return err
	}
	fmt.Printf("export ACME_DIRECTORY=%s\nexport DNS_SERVER=%s:53\nexport INGRESS_ADDRESS=%s\n", directory, bind, ingress)
	return nil
}

// setAddress answers for one name with an address of its own instead of the
// Ingress controller's. An explicit name also resolves while a DNS-01
// challenge for it is under way, which hides the wildcard.
func setAddress(ctx context.Context, c cluster, name, address string) error {
	name = strings.TrimSuffix(name, ".")
	if !strings.HasSuffix(name, ".test") {
		return fmt.Errorf("%s is not below test., the only zone there is", name)
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	kind := "A"
	if !ip.Is4() {
		kind = "AAAA"
	}
	update := fmt.Sprintf("server 127.0.0.1 5353\nzone test\nupdate delete %[1]s. %[2]s\nupdate add %[1]s. 5 %[2]s %[3]s\nsend\n", name, kind, ip)
	_, err = c.run(ctx, update, "exec", "--stdin", "--namespace=dns", "deployment/bind9", "--", "/usr/bin/nsupdate", "-k", "/var/cache/bind/session.key")
	return err
}
