package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// kind drives https://kind.sigs.k8s.io with Docker.
type kind struct{ state string }

const kindName = "gocart"

func (kind) name() string { return "kind" }

func (k kind) layout() layout { return layout{State: k.state} }

func (k kind) up(ctx context.Context, nodes int) error {
	l := k.layout()
	if nodes == 0 {
		nodes = 1
	}
	if err := os.MkdirAll(l.State, 0o700); err != nil {
		return err
	}
	if k.exists(ctx) {
		if err := k.tool(ctx, "", "export", "kubeconfig", "--name", kindName, "--kubeconfig", l.kubeconfig()); err != nil {
			return err
		}
		fmt.Println("the kind cluster is up:", l.kubeconfig())
		return nil
	}
	config := "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n" + strings.Repeat("- role: worker\n", nodes-1)
	if err := k.tool(ctx, config, "create", "cluster", "--name", kindName, "--kubeconfig", l.kubeconfig(), "--config", "-", "--wait", "3m"); err != nil {
		return err
	}
	return writeJSON(l.path(specFile), spec{Backend: "kind", Nodes: nodes})
}

func (k kind) down(ctx context.Context) error {
	l := k.layout()
	if err := k.tool(ctx, "", "delete", "cluster", "--name", kindName, "--kubeconfig", l.kubeconfig()); err != nil {
		return err
	}
	return os.RemoveAll(l.State)
}

func (k kind) status(ctx context.Context) error {
	if !k.exists(ctx) {
		return errors.New("there is no kind cluster named " + kindName)
	}
	return k.tool(ctx, "", "get", "nodes", "--name", kindName)
}

func (k kind) load(ctx context.Context, archives []string) error {
	for _, archive := range archives {
		if err := k.tool(ctx, "", "load", "image-archive", archive, "--name", kindName); err != nil {
			return err
		}
	}
	return nil
}

func (k kind) kubeconfig(ctx context.Context) (string, error) {
	if !exists(k.layout().kubeconfig()) {
		return "", errNoCluster
	}
	return k.layout().kubeconfig(), nil
}

func (k kind) exists(ctx context.Context) bool {
	for _, name := range strings.Fields(output(ctx, "kind", "get", "clusters")) {
		if name == kindName {
			return true
		}
	}
	return false
}

func (k kind) tool(ctx context.Context, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, "kind", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kind %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
