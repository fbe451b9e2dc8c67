package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"gitee.com/captainjez/gocart/hack/internal/tools"
)

// current is a cluster that somebody else keeps and KUBECONFIG names. It is
// neither made nor removed here.
type current struct{}

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
	path, err := c.kubeconfig(ctx)
	if err != nil {
		return err
	}
	kubectl, err := tools.Path(ctx, "kubectl")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, kubectl, "--kubeconfig="+path, "--request-timeout=10s", "get", "nodes")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("asking the cluster of %s for its nodes: %w", path, err)
	}
	return nil
}

func (c current) load(context.Context, []string) error {
	return errors.New("CLUSTER=current: images cannot be put on somebody else's nodes; push them to a registry that the cluster pulls from")
}

func (c current) kubeconfig(context.Context) (string, error) {
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(home, ".kube", "config")
	if !exists(path) {
		return "", errors.New("CLUSTER=current needs KUBECONFIG to name a kubeconfig")
	}
	return path, nil
}
