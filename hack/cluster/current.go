package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"gitee.com/captainjez/gocart/hack/internal/apt"
	"gitee.com/captainjez/gocart/hack/internal/ociarchive"
	"gitee.com/captainjez/gocart/hack/internal/tools"
)

// current is a cluster that somebody else keeps and KUBECONFIG names. It is
// neither made nor removed here.
type current struct{}

func (current) name() string { return "current" }

func (c current) up(ctx context.Context, _ int) error {
	if err := c.status(ctx); err != nil {
		return err
	}
	fmt.Println("using the cluster that KUBECONFIG names")
	return nil
}

func (c current) down(context.Context) error {
	fmt.Println("CLUSTER=current: the cluster is not ours to remove; left as it is")
	return nil
}

func (c current) status(ctx context.Context) error {
	config, err := c.kubeconfig(ctx)
	if err != nil {
		return err
	}
	kubectl, err := tools.Path(ctx, "kubectl")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, kubectl, "--kubeconfig="+config, "--request-timeout=10s", "get", "nodes")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("asking the cluster of %s for its nodes: %w", config, err)
	}
	return nil
}

// load pushes every image of the archives to REGISTRY, under its own name and
// tag. Who may do so is what "skopeo login" or "docker login" has kept.
func (c current) load(ctx context.Context, archives []string) error {
	registry := strings.TrimSuffix(os.Getenv("REGISTRY"), "/")
	if registry == "" {
		return errors.New("CLUSTER=current: images cannot be put on somebody else's nodes; set REGISTRY=host/path to a registry that the cluster pulls from, and they are pushed there")
	}
	if err := apt.Ensure(ctx, apt.Need{Program: "skopeo", Package: "skopeo"}); err != nil {
		return err
	}
	for _, archive := range archives {
		names, err := ociarchive.Names(archive)
		if err != nil {
			return err
		}
		for _, name := range names {
			to := registry + "/" + path.Base(name)
			if err := execute(ctx, "skopeo", "copy", "--quiet", "oci-archive:"+archive+":"+name, "docker://"+to); err != nil {
				return fmt.Errorf("pushing %s: %w", to, err)
			}
			fmt.Println("pushed", to)
		}
	}
	return nil
}

func (c current) kubeconfig(context.Context) (string, error) {
	if config := os.Getenv("KUBECONFIG"); config != "" {
		return config, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	config := filepath.Join(home, ".kube", "config")
	if !exists(config) {
		return "", errors.New("CLUSTER=current needs KUBECONFIG to name a kubeconfig")
	}
	return config, nil
}
