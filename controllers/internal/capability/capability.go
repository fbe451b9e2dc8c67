// Package capability knows which optional APIs the cluster has. A missing one
// is no error: it is asked for again, and picked up when it appears.
package capability

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// API is an optional group and version, with the resource that is needed of it.
type API struct {
	GroupVersion string
	Resource     string
	// Install says what to install to have it, for people.
	Install string
}

// The optional APIs.
var (
	CertManager = API{"cert-manager.io/v1", "certificates", "cert-manager"}
	GatewayAPI  = API{"gateway.networking.k8s.io/v1", "httproutes", "the Gateway API's resources and a controller of it"}
	KEDA        = API{"keda.sh/v1alpha1", "scaledobjects", "KEDA"}
	Prometheus  = API{"monitoring.coreos.com/v1", "servicemonitors", "prometheus-operator"}
)

// Set watches for optional APIs.
type Set struct {
	discovery discovery.DiscoveryInterface
	interval  time.Duration
	watch     func(API) error
	notify    func(context.Context)

	mu      sync.RWMutex
	present map[API]bool
}

// New returns a Set that asks every interval for what is missing.
func New(d discovery.DiscoveryInterface, interval time.Duration) *Set {
	return &Set{discovery: d, interval: interval, present: map[API]bool{}}
}

// Prime looks once, before the controllers are built.
func (s *Set) Prime() error {
	for _, api := range All() {
		found, err := s.served(api)
		if err != nil {
			return fmt.Errorf("asking the API server for %s: %w", api.GroupVersion, err)
		}
		s.present[api] = found
	}
	return nil
}

// OnAppear sets what follows when an API appears later: first watch, which is
// called again after an error, then, once Has tells of the API, notify.
func (s *Set) OnAppear(watch func(API) error, notify func(context.Context)) {
	s.watch, s.notify = watch, notify
}

// All are the optional APIs.
func All() []API { return []API{CertManager, GatewayAPI, KEDA, Prometheus} }

// Has tells whether the cluster has the API.
func (s *Set) Has(a API) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.present[a]
}

// Start looks until the context ends; it is a manager's Runnable.
func (s *Set) Start(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		s.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Set) look(ctx context.Context) {
	for _, api := range All() {
		if s.Has(api) {
			continue
		}
		found, err := s.served(api)
		if err == nil && found {
			err = s.watch(api)
		}
		if err != nil {
			log.FromContext(ctx).Error(err, "looking for an optional API; it is asked for again", "api", api.GroupVersion)
			continue
		}
		if found {
			s.mu.Lock()
			s.present[api] = true
			s.mu.Unlock()
			log.FromContext(ctx).Info("an optional API appeared", "api", api.GroupVersion)
			s.notify(ctx)
		}
	}
}

func (s *Set) served(api API) (bool, error) {
	resources, err := s.discovery.ServerResourcesForGroupVersion(api.GroupVersion)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, r := range resources.APIResources {
		if r.Name == api.Resource {
			return true, nil
		}
	}
	return false, nil
}
