// Command controller is cert-manager's controller, composed from its published
// packages: its own main packages are separate modules that are not published.
//
// It runs every controller that the imports below register: ACME (HTTP-01 and
// DNS-01), CA and self-signed issuers, certificates, and the Ingress shim. With
// -enable-gateway-api it also watches Gateways and solves HTTP-01 through
// HTTPRoutes; the Gateway API's CRDs must then be installed.
//
// It runs as a single replica and takes no lease: the Deployment's strategy is
// Recreate. There is no webhook; the CRDs' own schemas check what is applied.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmechallenges"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmeorders"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/gateways"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/ingresses"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/acme"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/acme"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

// The gateway shim is registered with the others and needs CRDs that a cluster
// may not have.
const gatewayShim = "gateway-shim"

// workers is the number of objects of one kind that are worked on at a time.
const workers = 5

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cert-manager:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("cert-manager", flag.ContinueOnError)
	var (
		kubeconfig  = flags.String("kubeconfig", "", "file that reaches the API server; the pod's own account when empty")
		namespace   = flags.String("cluster-resource-namespace", "cert-manager", "namespace of the Secrets that ClusterIssuers name")
		solverImage = flags.String("acme-http01-solver-image", "", "image of the pod that answers an HTTP-01 challenge")
		nameservers = flags.String("dns01-recursive-nameservers", "", "host:port list asked for the propagation check of a DNS-01 challenge; the pod's own resolvers when empty")
		recursive   = flags.Bool("dns01-recursive-nameservers-only", false, "ask those name servers only, not the zone's own")
		dnsPeriod   = flags.Duration("dns01-check-retry-period", 2*time.Second, "pause between propagation checks")
		backoff     = flags.Duration("certificate-request-minimum-backoff-duration", time.Hour, "pause after a failed certificate request")
		gateways    = flags.Bool("enable-gateway-api", false, "watch Gateways; needs the Gateway API's CRDs")
		health      = flags.String("health-address", ":9403", "address of /livez")
		metrics     = flags.String("metrics-address", ":9402", "address of /metrics")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	// Contexts carry the logger as cert-manager's own main sets it.
	ctx = logf.NewContext(ctx, logf.Log, "controller")

	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         *kubeconfig,
		KubernetesAPIQPS:   50,
		KubernetesAPIBurst: 100,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: *namespace},
		ACMEOptions: controller.ACMEOptions{
			HTTP01SolverImage:                 *solverImage,
			HTTP01SolverResourceRequestCPU:    resource.MustParse("5m"),
			HTTP01SolverResourceRequestMemory: resource.MustParse("16Mi"),
			HTTP01SolverResourceLimitsCPU:     resource.MustParse("100m"),
			HTTP01SolverResourceLimitsMemory:  resource.MustParse("64Mi"),
			ACMEHTTP01SolverRunAsNonRoot:      true,
			DNS01Nameservers:                  list(*nameservers),
			DNS01CheckAuthoritative:           !*recursive,
			DNS01CheckRetryPeriod:             *dnsPeriod,
		},
		IngressShimOptions: controller.IngressShimOptions{
			DefaultIssuerKind:                 "Issuer",
			DefaultIssuerGroup:                "cert-manager.io",
			DefaultAutoCertificateAnnotations: []string{"kubernetes.io/tls-acme"},
		},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
			CertificateRequestMinimumBackoffDuration: *backoff,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
		SchedulerOptions: controller.SchedulerOptions{MaxConcurrentChallenges: 60},
		ConfigOptions:    controller.ConfigOptions{EnableGatewayAPI: *gateways},
	})
	if err != nil {
		return fmt.Errorf("preparing clients: %w", err)
	}
	shared, err := factory.Build()
	if err != nil {
		return fmt.Errorf("building the shared context: %w", err)
	}

	group, ctx := errgroup.WithContext(ctx)
	for name, construct := range controller.Known() {
		if name == gatewayShim && !*gateways {
			continue
		}
		run, err := construct(factory)
		if err != nil {
			return fmt.Errorf("constructing %s: %w", name, err)
		}
		group.Go(func() error { return run.Run(workers, ctx) })
	}

	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if *gateways {
		shared.GWShared.Start(ctx.Done())
	}

	livez := http.NewServeMux()
	livez.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	serve(ctx, group, *health, &http.Server{Handler: livez, ReadHeaderTimeout: 5 * time.Second})

	listener, err := net.Listen("tcp", *metrics)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	serveOn(ctx, group, listener, shared.Metrics.NewServer(listener))
	return group.Wait()
}

func serve(ctx context.Context, group *errgroup.Group, address string, server *http.Server) {
	group.Go(func() error {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listening for health checks: %w", err)
		}
		serveOn(ctx, group, listener, server)
		return nil
	})
}

func serveOn(ctx context.Context, group *errgroup.Group, listener net.Listener, server *http.Server) {
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
}

func list(commas string) []string {
	if commas == "" {
		return nil
	}
	return strings.Split(commas, ",")
}
