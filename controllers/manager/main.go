// Command gocart-operator reconciles Stores, RateLimitPolicies and JobSchedules.
// This package holds flags and wiring, nothing else.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // Nor does it hold time zones.

	certmanageracmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	_ "golang.org/x/crypto/x509roots/fallback" // The image holds no files but this program.
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/apply"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/keda"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/controllers/jobschedule"
	"gitee.com/captainjez/gocart/controllers/ratelimitpolicy"
	"gitee.com/captainjez/gocart/controllers/store"
	"gitee.com/captainjez/gocart/controllers/workerscaler"
	"gitee.com/captainjez/gocart/runtime/version"
)

type options struct {
	metricsAddress, probeAddress string
	leaderElect                  bool
	namespaces, selector         string
	images                       plan.Images
	acme                         plan.ACME
	acmeCAFile                   string
	concurrency                  int
	logLevel                     string
}

func main() {
	if err := run(parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "gocart-operator:", err)
		os.Exit(1)
	}
}

// An API server that does not answer for less than the renew deadline costs no
// restart; who follows one that died without letting go of the lease waits for
// its duration. They are two and a half times the defaults of client-go, with which
// an API server that restarts on a small machine ends its operators too.
const (
	leaseDuration = 40 * time.Second
	renewDeadline = 25 * time.Second
	retryPeriod   = 5 * time.Second
)

func parseFlags() options {
	o := options{acme: plan.LetsEncrypt()}
	flag.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "address of /metrics; 0 serves none")
	flag.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	flag.BoolVar(&o.leaderElect, "leader-elect", false, "let one of several replicas work at a time")
	flag.StringVar(&o.namespaces, "watch-namespaces", "", "namespaces to look after, separated by commas; empty for all")
	flag.StringVar(&o.selector, "watch-label-selector", "", "look after Stores with these labels only, and their RateLimitPolicies and JobSchedules, so that several operators share the work")
	flag.StringVar(&o.images.Runtime, "runtime-image", "gocart-runtime:"+version.Version, "image of a Store that names none")
	flag.StringVar(&o.images.Postgres, "postgres-image", "docker.io/library/postgres:17", "image of a managed database that names none")
	flag.StringVar(&o.images.Redis, "redis-image", "docker.io/library/redis:7.4", "image of a managed Redis that names none")
	flag.StringVar(&o.acme.ProductionURL, "acme-production-url", o.acme.ProductionURL, "ACME directory of tls.letsEncrypt with environment Production")
	flag.StringVar(&o.acme.StagingURL, "acme-staging-url", o.acme.StagingURL, "ACME directory of tls.letsEncrypt with environment Staging")
	flag.StringVar(&o.acmeCAFile, "acme-ca-bundle-file", "", "PEM certificates to trust when talking to those directories; empty for the system's")
	flag.IntVar(&o.concurrency, "max-concurrent-reconciles", 4, "Stores reconciled at once")
	flag.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flag.Parse()
	return o
}

func run(o options) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return fmt.Errorf("--watch-label-selector: %w", err)
	}
	if o.acmeCAFile != "" {
		if o.acme.CABundle, err = os.ReadFile(o.acmeCAFile); err != nil {
			return fmt.Errorf("--acme-ca-bundle-file: %w", err)
		}
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         store.CacheOptions(split(o.namespaces), selector),
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaseName(o.selector),
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
		RetryPeriod:                   new(retryPeriod),
		PprofBindAddress:              "",
	})
	if err != nil {
		return err
	}
	capabilities, err := lookForAPIs(mgr)
	if err != nil {
		return err
	}
	if err := apply.RegisterMetrics(); err != nil {
		return err
	}
	if err := policies.Index(mgr); err != nil {
		return err
	}
	recorder := mgr.GetEventRecorder("gocart-operator")
	prober := probe.NewHTTP()
	reconciler := &store.Reconciler{
		Client:       mgr.GetClient(),
		Live:         mgr.GetAPIReader(),
		Applier:      apply.New(mgr.GetClient(), mgr.GetAPIReader(), recorder),
		Capabilities: capabilities,
		Events:       recorder,
		Prober:       prober,
		Now:          time.Now,
		Options: store.Options{
			Defaults:          o.images,
			RuntimeRepository: repository(o.images.Runtime),
			ACME:              o.acme,
			Namespace:         os.Getenv("POD_NAMESPACE"),
		},
	}
	if err := reconciler.SetupWithManager(mgr, o.concurrency); err != nil {
		return err
	}
	schedules := &jobschedule.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Applier: apply.New(mgr.GetClient(), mgr.GetAPIReader(), recorder),
		Events: recorder, Prober: prober, RuntimeRepository: repository(o.images.Runtime), Now: time.Now,
	}
	if err := schedules.SetupWithManager(mgr, o.concurrency); err != nil {
		return err
	}
	scaler := &workerscaler.Reconciler{Client: mgr.GetClient(), Events: recorder, Prober: prober, Now: time.Now}
	if err := scaler.SetupWithManager(mgr, o.concurrency); err != nil {
		return err
	}
	limits := &ratelimitpolicy.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: recorder, Prober: prober, Now: time.Now}
	if err := limits.SetupWithManager(mgr, o.concurrency); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	ctrl.Log.Info("starting", "version", version.Version)
	return mgr.Start(ctrl.SetupSignalHandler())
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, v1alpha1.AddToScheme,
		certmanagerv1.AddToScheme, certmanageracmev1.AddToScheme, gatewayv1.Install, keda.AddToScheme, monitoringv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

func lookForAPIs(mgr ctrl.Manager) (*capability.Set, error) {
	client, err := discovery.NewDiscoveryClientForConfig(mgr.GetConfig())
	if err != nil {
		return nil, err
	}
	set := capability.New(client, 15*time.Second)
	return set, set.Prime()
}

// leaseName differs between operators that share the work by labels.
func leaseName(selector string) string {
	const name = "gocart-operator"
	if selector == "" {
		return name
	}
	return name + "-" + plan.Hash(selector)[:8]
}

func split(list string) []string {
	var out []string
	for _, e := range strings.Split(list, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// repository is an image's name without tag or digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i]
	}
	return image
}
