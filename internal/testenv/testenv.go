// Package testenv gives a test package one real kube-apiserver and etcd, with
// GoCart's kinds installed, for as long as its tests run. There is no
// controller manager, scheduler or kubelet: nothing runs, nothing is collected
// as garbage, and a namespace once made stays.
//
//	var cluster testenv.Cluster
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Run(m, testenv.CertManager)) }
//
//	func TestSomething(t *testing.T) {
//		c, namespace := cluster.Client(t), cluster.Namespace(t)
//		...
//
// The servers' programs are taken from $KUBEBUILDER_ASSETS, else from the
// project's pinned tools, which are built on first use.
//
// Tests import this package, and programs that check the project.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	commercev1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// Cluster is an API server. The zero value is ready for Run.
type Cluster struct {
	environment envtest.Environment
	config      *rest.Config
}

// Run starts the cluster with GoCart's kinds and the given optional APIs, runs
// the tests (a *testing.M), stops the cluster and returns the exit code. It is
// called from TestMain.
func (c *Cluster) Run(m interface{ Run() int }, apis ...API) (code int) {
	if err := c.Start(apis...); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	defer func() {
		if err := c.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "testenv: stopping:", err)
			code = max(code, 1)
		}
	}()
	return m.Run()
}

// Start starts the cluster with GoCart's kinds and the given optional APIs.
// Whoever called it calls Stop.
func (c *Cluster) Start(apis ...API) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	apiServer, etcd, err := programs(root)
	if err != nil {
		return err
	}
	files, err := crdFiles(root, append([]API{gocart}, apis...))
	if err != nil {
		return err
	}
	c.environment.ControlPlane.GetAPIServer().Path = apiServer
	c.environment.ControlPlane.Etcd = &envtest.Etcd{Path: etcd}
	// The data is thrown away with the process.
	c.environment.ControlPlane.Etcd.Configure().Enable("unsafe-no-fsync")
	c.environment.CRDInstallOptions = envtest.CRDInstallOptions{
		Paths:              files,
		ErrorIfPathMissing: true,
		MaxTime:            time.Minute,
		PollInterval:       50 * time.Millisecond,
	}
	c.environment.ControlPlaneStartTimeout = 2 * time.Minute
	c.environment.ControlPlaneStopTimeout = time.Minute
	c.config, err = c.environment.Start()
	if err != nil {
		return errors.Join(fmt.Errorf("starting the API server: %w", err), c.environment.Stop())
	}
	// Tests are not to wait for a client-side limiter.
	c.config.QPS = -1
	return nil
}

// Stop ends the cluster's processes and removes its data.
func (c *Cluster) Stop() error { return c.environment.Stop() }

// Config returns a new administrator's configuration.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// ConfigFor returns the configuration of a user whom only RBAC gives rights.
func (c *Cluster) ConfigFor(t testing.TB, user string, groups ...string) *rest.Config {
	t.Helper()
	authenticated, err := c.environment.AddUser(envtest.User{Name: user, Groups: groups}, c.Config())
	if err != nil {
		t.Fatalf("adding user %s: %v", user, err)
	}
	return authenticated.Config()
}

// Client returns an uncached administrator's client that knows Kubernetes'
// kinds, CustomResourceDefinitions, GoCart's kinds and those of addToScheme.
func (c *Cluster) Client(t testing.TB, addToScheme ...func(*runtime.Scheme) error) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range append([]func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, commercev1alpha1.AddToScheme,
	}, addToScheme...) {
		if err := add(scheme); err != nil {
			t.Fatalf("filling the scheme: %v", err)
		}
	}
	made, err := client.NewWithWatch(c.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	return made
}

// Namespace makes a fresh namespace and returns its name. It is deleted with
// the cluster, for here is no controller that would empty it.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Client(t).Create(context.WithoutCancel(t.Context()), namespace); err != nil {
		t.Fatalf("making a namespace: %v", err)
	}
	return namespace.Name
}

// Install adds optional APIs to the running cluster and waits until they are served.
func (c *Cluster) Install(t testing.TB, apis ...API) {
	t.Helper()
	if _, err := envtest.InstallCRDs(c.config, c.crdOptions(t, apis)); err != nil {
		t.Fatalf("installing optional APIs: %v", err)
	}
}

// Uninstall removes optional APIs and all their objects.
func (c *Cluster) Uninstall(t testing.TB, apis ...API) {
	t.Helper()
	if err := envtest.UninstallCRDs(c.config, c.crdOptions(t, apis)); err != nil {
		t.Fatalf("removing optional APIs: %v", err)
	}
}

func (c *Cluster) crdOptions(t testing.TB, apis []API) envtest.CRDInstallOptions {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := crdFiles(root, apis)
	if err != nil {
		t.Fatal(err)
	}
	return envtest.CRDInstallOptions{
		Paths:              files,
		ErrorIfPathMissing: true,
		MaxTime:            time.Minute,
		PollInterval:       50 * time.Millisecond,
	}
}
