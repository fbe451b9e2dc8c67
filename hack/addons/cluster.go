package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"gitee.com/captainjez/gocart/hack/internal/images"
	"gitee.com/captainjez/gocart/hack/internal/tools"
)

// cluster is the one that kubectl reaches.
type cluster struct {
	root    string
	kubectl string
	config  string
}

func connect(ctx context.Context) (cluster, error) {
	root, err := tools.Root()
	if err != nil {
		return cluster{}, err
	}
	config, err := images.Kubeconfig(ctx, root)
	if err != nil {
		return cluster{}, err
	}
	kubectl, err := tools.Path(ctx, "kubectl")
	return cluster{root: root, kubectl: kubectl, config: config}, err
}

// run runs kubectl with in as its standard input and returns what it printed.
func (c cluster) run(ctx context.Context, in string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.kubectl, append([]string{"--kubeconfig=" + c.config}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// apply makes the objects of a manifest so, whoever owned a field before.
func (c cluster) apply(ctx context.Context, manifest string) error {
	_, err := c.run(ctx, manifest, "apply", "--server-side", "--force-conflicts", "--field-manager=gocart-addons", "--filename=-")
	return err
}

// data reads one key of a Secret or ConfigMap; "" when either is not there.
func (c cluster) data(ctx context.Context, kind, namespace, name, key string) (string, error) {
	out, err := c.run(ctx, "", "get", kind, name, "--namespace="+namespace, "--ignore-not-found", "--output=json")
	if err != nil || out == "" {
		return "", err
	}
	var object struct{ Data map[string]string }
	if err := json.Unmarshal([]byte(out), &object); err != nil {
		return "", err
	}
	if kind != "secret" {
		return object.Data[key], nil
	}
	value, err := base64.StdEncoding.DecodeString(object.Data[key])
	return string(value), err
}

func (c cluster) serviceIP(ctx context.Context, namespace, name string) (string, error) {
	ip, err := c.run(ctx, "", "get", "service", name, "--namespace="+namespace, "--output=jsonpath={.spec.clusterIP}")
	if err == nil && ip == "" {
		err = fmt.Errorf("the Service %s/%s has no address", namespace, name)
	}
	return ip, err
}

func (c cluster) rolledOut(ctx context.Context, namespace, deployment string) error {
	_, err := c.run(ctx, "", "rollout", "status", "deployment/"+deployment, "--namespace="+namespace, "--timeout=120s")
	if err == nil {
		return nil
	}
	// What the pods say is what a person would ask for next.
	pods, _ := c.run(ctx, "", "describe", "pods", "--namespace="+namespace, "--selector=app.kubernetes.io/name="+deployment)
	logs, _ := c.run(ctx, "", "logs", "--namespace="+namespace, "--selector=app.kubernetes.io/name="+deployment, "--tail=20")
	return fmt.Errorf("%w\n%s\n%s", err, tail(pods, 15), logs)
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
