// Command cluster brings up a Kubernetes cluster to develop and test against,
// and takes it away again without a trace.
//
//	go run ./hack/cluster up              make it, repair it, or say that it is there
//	go run ./hack/cluster down            remove it
//	go run ./hack/cluster status          say what runs; fails when something does not
//	go run ./hack/cluster load FILE...    give every node the images of OCI or docker archives
//	go run ./hack/cluster kubeconfig      print the path of its kubeconfig
//	go run ./hack/cluster backend         print which kind it is: native, kind or current
//
// CLUSTER says which kind: native (real programs on this machine, inside network
// namespaces; needs Linux and root), kind, current (whatever KUBECONFIG names) or
// auto, the default: the first of these that this machine can do. NODES is 1, 2
// or 3. GOCART_CLUSTER_STATE moves the state folder. REGISTRY, such as
// registry.example.com/team, is where load pushes to for CLUSTER=current.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// backend is one way to have a cluster.
type backend interface {
	name() string
	up(ctx context.Context, nodes int) error
	down(ctx context.Context) error
	status(ctx context.Context) error
	load(ctx context.Context, archives []string) error
	kubeconfig(ctx context.Context) (string, error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("name a command: up, down, status, load FILE..., kubeconfig or backend")
	}
	b, err := choose(ctx)
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		nodes, err := wantedNodes()
		if err != nil {
			return err
		}
		return b.up(ctx, nodes)
	case "down":
		return b.down(ctx)
	case "status":
		return b.status(ctx)
	case "load":
		archives, err := absolute(args[1:])
		if err != nil {
			return err
		}
		return b.load(ctx, archives)
	case "kubeconfig":
		path, err := b.kubeconfig(ctx)
		if err == nil {
			fmt.Println(path)
		}
		return err
	case "backend":
		fmt.Println(b.name())
		return nil
	}
	return fmt.Errorf("there is no command %q: up, down, status, load, kubeconfig and backend are", args[0])
}

func absolute(files []string) ([]string, error) {
	if len(files) == 0 {
		return nil, errors.New("load: name at least one archive")
	}
	var all []string
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
		all = append(all, path)
	}
	return all, nil
}
