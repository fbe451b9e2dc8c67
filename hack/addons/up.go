package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"gitee.com/captainjez/gocart/hack/internal/images"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// directory is the ACME server's address in the cluster.
const directory = "https://pebble.acme.svc:14000/dir"

var imageNames = []string{"bind9", "pebble", "cert-manager", "cert-manager-acmesolver", "haproxy-ingress"}

// deployments by namespace, in the order in which one needs the other.
var deployments = [][2]string{
	{"dns", "bind9"},
	{"haproxy-ingress", "haproxy-ingress"},
	{"acme", "pebble"},
	{"cert-manager", "cert-manager"},
}

// values are what manifests are written with.
type values struct {
	BindIP    string
	IngressIP string
	TSIG      string
	Directory string
	Listener  listener
	Images    map[string]string
	Hash      map[string]string // of NAME.config.yaml: a Deployment rolls when its configuration changes
}

func up(ctx context.Context, c cluster) error {
	start := time.Now()
	v := values{Directory: directory, Images: map[string]string{}, Hash: map[string]string{}}
	if err := loadImages(ctx, c, &v); err != nil {
		return err
	}
	crds, err := crdFiles(ctx, c)
	if err != nil {
		return err
	}
	applied, err := fingerprint(v, crds)
	if err != nil {
		return err
	}
	if same, err := isUp(ctx, c, applied); err != nil || same {
		if err == nil {
			say("the add-ons are as they should be (%.0fs)", time.Since(start).Seconds())
		}
		return err
	}
	if err := applyCRDs(ctx, c, crds); err != nil {
		return err
	}
	if err := applyFile(ctx, c, "00-services.yaml", &v); err != nil {
		return err
	}
	if err := readState(ctx, c, &v); err != nil {
		return err
	}
	corefile, err := c.data(ctx, "configmap", "kube-system", "coredns-custom", "test.server")
	if err != nil {
		return err
	}
	for _, name := range []string{"bind9", "pebble", "coredns"} {
		if err := applyFile(ctx, c, name+".config.yaml", &v); err != nil {
			return err
		}
	}
	if !strings.Contains(corefile, "forward . "+v.BindIP+"\n") {
		if err := reloadDNS(ctx, c); err != nil {
			return err
		}
	}
	for _, d := range deployments {
		if err := applyFile(ctx, c, d[1]+".yaml", &v); err != nil {
			return err
		}
	}
	for _, d := range deployments {
		if err := c.rolledOut(ctx, d[0], d[1]); err != nil {
			return err
		}
	}
	if err := applyFile(ctx, c, "issuers.yaml", &v); err != nil {
		return err
	}
	if _, err := rememberRoots(ctx, c); err != nil {
		return err
	}
	if err := waitIssuers(ctx, c); err != nil {
		return err
	}
	if err := remember(ctx, c, applied); err != nil {
		return err
	}
	say("the add-ons are ready after %.0fs: ClusterIssuers pebble-dns01 and pebble-http01, ACME directory %s", time.Since(start).Seconds(), directory)
	return nil
}

func loadImages(ctx context.Context, c cluster, v *values) error {
	builder, err := images.NewBuilder(os.Stderr)
	if err != nil {
		return err
	}
	var built []images.Built
	for _, name := range imageNames {
		image, err := builder.Build(ctx, name, "")
		if err != nil {
			return err
		}
		v.Images[name] = image.ByContent()
		built = append(built, image)
	}
	return images.Load(ctx, c.root, c.config, os.Stderr, built...)
}

// crdFiles are those that cert-manager's module ships, so that they are of the
// version that runs.
func crdFiles(ctx context.Context, c cluster) ([]string, error) {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	list.Dir = filepath.Join(c.root, "hack", "tools", "cert-manager")
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("finding cert-manager's module: %w", err)
	}
	return filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "deploy", "crds", "*.yaml"))
}

func applyCRDs(ctx context.Context, c cluster, files []string) error {
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "---\n%s\n", data)
	}
	if err := c.apply(ctx, all.String()); err != nil {
		return err
	}
	_, err := c.run(ctx, all.String(), "wait", "--for=condition=Established", "--timeout=60s", "--filename=-")
	return err
}

// readState finds or makes what manifests hold and a second run must not
// change: addresses, the key of dynamic updates, the ACME server's certificate.
func readState(ctx context.Context, c cluster, v *values) error {
	var err error
	if v.BindIP, err = c.serviceIP(ctx, "dns", "bind9"); err != nil {
		return err
	}
	if v.IngressIP, err = c.serviceIP(ctx, "haproxy-ingress", "haproxy-ingress"); err != nil {
		return err
	}
	if v.TSIG, err = c.data(ctx, "secret", "cert-manager", "rfc2136-tsig", "secret"); err != nil {
		return err
	}
	if v.TSIG == "" {
		key := make([]byte, 32)
		rand.Read(key)
		v.TSIG = base64.StdEncoding.EncodeToString(key)
	}
	if v.Listener, err = readListener(ctx, c); err != nil {
		return err
	}
	if v.Listener.expired(time.Now()) {
		v.Listener, err = newListener(time.Now())
	}
	return err
}

// reloadDNS makes the cluster's DNS read its configuration now rather than when
// the kubelet next writes it out.
func reloadDNS(ctx context.Context, c cluster) error {
	main, err := c.data(ctx, "configmap", "kube-system", "coredns", "Corefile")
	if err != nil {
		return err
	}
	if main == "" {
		say("the cluster's DNS is not CoreDNS of kube-system: names below test. are known to the add-ons alone")
		return nil
	}
	if !strings.Contains(main, "import ") {
		// kind's Corefile imports nothing.
		block, err := c.data(ctx, "configmap", "kube-system", "coredns-custom", "test.server")
		if err != nil {
			return err
		}
		if before, _, found := strings.Cut(main, "test:53 {"); found {
			main = before
		}
		patch := fmt.Sprintf(`{"data":{"Corefile":%q}}`, strings.TrimRight(main, "\n")+"\n"+block)
		if _, err := c.run(ctx, "", "patch", "configmap", "coredns", "--namespace=kube-system", "--type=merge", "--patch="+patch); err != nil {
			return err
		}
	}
	if _, err := c.run(ctx, "", "rollout", "restart", "deployment/coredns", "--namespace=kube-system"); err != nil {
		return err
	}
	_, err = c.run(ctx, "", "rollout", "status", "deployment/coredns", "--namespace=kube-system", "--timeout=120s")
	return err
}

func applyFile(ctx context.Context, c cluster, name string, v *values) error {
	text, err := render(name, v)
	if err != nil {
		return err
	}
	if base, ok := strings.CutSuffix(name, ".config.yaml"); ok {
		sum := sha256.Sum256([]byte(text))
		v.Hash[base] = "h" + hex.EncodeToString(sum[:])[:12]
	}
	if err := c.apply(ctx, text); err != nil {
		return fmt.Errorf("applying %s: %w", name, err)
	}
	return nil
}

func render(name string, v *values) (string, error) {
	functions := template.FuncMap{
		"list":   func(items ...string) []string { return items },
		"base64": func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) },
		"indent": func(spaces int, text string) string {
			pad := "\n" + strings.Repeat(" ", spaces)
			return pad + strings.Join(slices.Collect(trimmedLines(text)), pad)
		},
		"image": func(name string) (string, error) {
			if reference := v.Images[name]; reference != "" {
				return reference, nil
			}
			return "", fmt.Errorf("no image %s was built", name)
		},
	}
	t, err := template.New(name).Funcs(functions).Option("missingkey=error").ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = t.Execute(&out, v)
	return out.String(), err
}

func trimmedLines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(strings.TrimSpace(text)) {
			if !yield(strings.TrimRight(line, "\n")) {
				return
			}
		}
	}
}
