package capability_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"gitee.com/captainjez/gocart/controllers/internal/capability"
)

// apiServer answers discovery; a fault is what a real one can not be asked for.
type apiServer struct {
	discovery.DiscoveryInterface
	mu     sync.Mutex
	serves map[string]string // group version -> resource
	fault  error
}

func (s *apiServer) set(groupVersion, resource string, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serves[groupVersion], s.fault = resource, fault
}

func (s *apiServer) ServerResourcesForGroupVersion(gv string) (*metav1.APIResourceList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return nil, s.fault
	}
	resource, ok := s.serves[gv]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, gv)
	}
	return &metav1.APIResourceList{APIResources: []metav1.APIResource{{Name: resource}}}, nil
}

func TestWhatIsMissingIsNoErrorAndWhatAnswersWronglyIs(t *testing.T) {
	server := &apiServer{serves: map[string]string{"cert-manager.io/v1": "certificates", "monitoring.coreos.com/v1": "podmonitors"}}
	set := capability.New(server, time.Hour)
	if err := set.Prime(); err != nil {
		t.Fatal(err)
	}
	if !set.Has(capability.CertManager) || set.Has(capability.GatewayAPI) {
		t.Error("want cert-manager and no Gateway API")
	}
	if set.Has(capability.Prometheus) {
		t.Error("a group without the resource that is needed does not count")
	}
	server.set("x", "", errors.New("the server is away"))
	if err := capability.New(server, time.Hour).Prime(); err == nil {
		t.Error("an API server that does not answer was taken for one without APIs")
	}
}

func TestAnAPIThatAppearsIsWatchedBeforeItIsToldOf(t *testing.T) {
	server := &apiServer{serves: map[string]string{}}
	set := capability.New(server, time.Millisecond)
	if err := set.Prime(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var happened []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		happened = append(happened, what)
	}
	notified := make(chan struct{}, 1)
	refusals := 2
	set.OnAppear(func(a capability.API) error {
		if set.Has(a) {
			note("told before it was watched")
		}
		if refusals > 0 {
			refusals--
			note("refused")
			return errors.New("the watch does not start yet")
		}
		note("watched " + a.Resource)
		return nil
	}, func(context.Context) {
		if !set.Has(capability.GatewayAPI) {
			note("notified before it was told")
		}
		note("notified")
		notified <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- set.Start(ctx) }()
	server.set("gateway.networking.k8s.io/v1", "httproutes", errors.New("away for a moment"))
	server.set("gateway.networking.k8s.io/v1", "httproutes", nil)
	<-notified
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if want := []string{"refused", "refused", "watched httproutes", "notified"}; !slices.Equal(happened, want) {
		t.Errorf("happened %q, want %q", happened, want)
	}
}
