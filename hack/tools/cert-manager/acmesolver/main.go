// Command acmesolver answers one HTTP-01 challenge: cert-manager starts it in
// a pod of its own for each challenge and sends the CA's request there.
//
// It takes the flags that cert-manager's own acmesolver image takes, because
// the controller writes them into the pod.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "acmesolver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	s := &solver.HTTP01Solver{}
	flags := flag.NewFlagSet("acmesolver", flag.ContinueOnError)
	flags.IntVar(&s.ListenPort, "listen-port", 8089, "port to listen on")
	flags.StringVar(&s.Domain, "domain", "", "host name of the request that is answered")
	flags.StringVar(&s.Token, "token", "", "last element of the path that is answered")
	flags.StringVar(&s.Key, "key", "", "key authorization, the body of the answer")
	if err := flags.Parse(args); err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Listen(logf.Log) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(grace); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
