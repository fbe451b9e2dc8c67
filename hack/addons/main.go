// Command addons gives the cluster what a store's certificates need: an ACME
// server, the DNS and the Ingress controller that it checks, and cert-manager.
//
//	go run ./hack/addons up                 make them so, wait until they are ready
//	go run ./hack/addons acme-ca            print the CAs that ACME certificates chain to (PEM)
//	go run ./hack/addons env                print addresses as shell lines
//	go run ./hack/addons dns NAME ADDRESS   answer with this address for a name below test.
//
// It acts on the cluster of "go run ./hack/cluster kubeconfig".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"gitee.com/captainjez/gocart/hack/internal/images"
	"gitee.com/captainjez/gocart/hack/internal/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "addons:", err)
		os.Exit(1)
	}
}

// refuseOthers keeps the add-ons off a cluster that somebody else keeps: they
// would replace its cert-manager and the configuration of its DNS.
func refuseOthers(ctx context.Context) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	backend, err := images.Backend(ctx, root)
	if err == nil && backend == "current" {
		err = errors.New("the add-ons are for clusters made here (CLUSTER=native or kind): on this one, use its own cert-manager, DNS and Ingress controller")
	}
	return err
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("name a command: up, acme-ca, env or dns NAME ADDRESS")
	}
	if err := refuseOthers(ctx); err != nil {
		return err
	}
	c, err := connect(ctx)
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return up(ctx, c)
	case "acme-ca":
		roots, err := rememberRoots(ctx, c)
		if err != nil {
			return err
		}
		fmt.Print(roots)
		return nil
	case "env":
		return printEnv(ctx, c)
	case "dns":
		if len(args) != 3 {
			return errors.New("dns: give a name and an address, such as a.shop.test 10.0.0.1")
		}
		return setAddress(ctx, c, args[1], args[2])
	}
	return fmt.Errorf("there is no command %q: up, acme-ca, env and dns are", args[0])
}
