package store_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/apply"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/keda"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/controllers/store"
	"gitee.com/captainjez/gocart/internal/testenv"
	"gitee.com/captainjez/gocart/runtime/status"
)

// The cluster begins without any optional API: TestOptionalAPIs... has the
// operator meet them as they are installed; every other test has them.
var (
	cluster testenv.Cluster
	shared  struct {
		once     sync.Once
		operator *operator
	}
	installAPIs sync.Once
	background  context.Context // ends with the last test
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(cluster.Run(suite{m}))
}

// suite ends what runs in the background before the cluster stops, which
// waits for the last watch to end.
type suite struct{ tests *testing.M }

func (s suite) Run() int {
	var end context.CancelFunc
	background, end = context.WithCancel(context.Background())
	defer end()
	return s.tests.Run()
}

// patience bounds how long a test waits for something that ought to happen at
// once; a loaded machine needs it.
const patience = 60 * time.Second

// operatorName is the user that the operator is: it has the rights of
// config/rbac/role.yaml and no others, so that every test shows them to suffice.
const operatorName = "gocart-operator"

// privateLabel marks Stores that the shared operator leaves to another one.
const privateLabel = "test.gocart/operator"

// operator is a running manager, with what it said and what it asked.
type operator struct {
	log        *journal
	requests   *traffic
	cache      client.Reader
	reconciler *store.Reconciler
	stop       func()
}

type operatorOptions struct {
	user       string
	namespaces []string
	stores     string
	defaults   plan.Images
	// lag, when not nil, is the cache's.
	lag *lag
}

var release = plan.Images{Runtime: "gocart-runtime:1.0.0", Postgres: "postgres:17", Redis: "redis:7.4"}

func startOperator(t testing.TB, o operatorOptions) *operator {
	t.Helper()
	op := &operator{log: &journal{}, requests: &traffic{}}
	config := cluster.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: o.user, Groups: []string{"system:authenticated"}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return op.requests.through(next) })
	selector, err := labels.Parse(o.stores)
	if err != nil {
		t.Fatal(err)
	}
	skip := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:     scheme(t),
		Cache:      store.CacheOptions(o.namespaces, selector),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Logger:     op.log.logger(),
		Controller: controllerconfig.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	capabilities := capability.New(asked, 200*time.Millisecond)
	if err := capabilities.Prime(); err != nil {
		t.Fatal(err)
	}
	if err := policies.Index(mgr); err != nil {
		t.Fatal(err)
	}
	recorder := mgr.GetEventRecorder(operatorName)
	cached := mgr.GetClient()
	if o.lag != nil {
		o.lag.Client = cached
		cached = o.lag
	}
	r := &store.Reconciler{
		Client: cached, Live: mgr.GetAPIReader(),
		Applier:      apply.New(mgr.GetClient(), mgr.GetAPIReader(), recorder),
		Capabilities: capabilities,
		Events:       recorder,
		Prober:       &probe.HTTP{Client: &http.Client{Timeout: 5 * time.Second}, Port: pods(t).port},
		Now:          time.Now,
		Options: store.Options{
			Defaults: o.defaults, RuntimeRepository: "gocart-runtime", ACME: plan.LetsEncrypt(), Namespace: "gocart-system",
		},
	}
	if err := r.SetupWithManager(mgr, 4); err != nil {
		t.Fatal(err)
	}
	op.cache, op.reconciler = mgr.GetCache(), r
	ctx, cancel := context.WithCancel(background)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(ctx); err != nil {
			op.log.add("manager: " + err.Error())
		}
	}()
	op.stop = func() { cancel(); <-done }
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		t.Fatal("the operator's cache does not fill:\n" + op.log.tail(20))
	}
	return op
}

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range schemes {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var schemes = []func(*runtime.Scheme) error{
	clientgoscheme.AddToScheme, v1alpha1.AddToScheme, certmanagerv1.AddToScheme, acmev1.AddToScheme, gatewayv1.Install, keda.AddToScheme, monitoringv1.AddToScheme,
}

// sharedOperator looks after every Store that no test keeps for itself.
func sharedOperator(t testing.TB) *operator {
	t.Helper()
	shared.once.Do(func() {
		grant(t, operatorName, "")
		startMachines(t)
		shared.operator = startOperator(t, operatorOptions{user: operatorName, stores: "!" + privateLabel, defaults: release})
	})
	if shared.operator == nil {
		t.Fatal("the shared operator did not start")
	}
	return shared.operator
}

// rights are those of config/rbac/role.yaml.
func rights(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	raw, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal(raw, &role); err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

// grant gives a user the operator's rights, in one namespace or, for "", everywhere.
func grant(t testing.TB, user, namespace string) {
	t.Helper()
	var role, binding client.Object
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}}
	name := metav1.ObjectMeta{Name: user, Namespace: namespace}
	if namespace == "" {
		role = &rbacv1.ClusterRole{ObjectMeta: name, Rules: rights(t)}
		binding = &rbacv1.ClusterRoleBinding{ObjectMeta: name, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user}}
	} else {
		role = &rbacv1.Role{ObjectMeta: name, Rules: rights(t)}
		binding = &rbacv1.RoleBinding{ObjectMeta: name, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user}}
	}
	for _, o := range []client.Object{role, binding} {
		if err := cluster.Client(t).Create(context.WithoutCancel(t.Context()), o); err != nil {
			t.Fatal(err)
		}
	}
}

// journal keeps what an operator logged, down to the finest level.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) logger() logr.Logger {
	return funcr.New(func(prefix, args string) { j.add(prefix + " " + args) }, funcr.Options{Verbosity: 5})
}

func (j *journal) add(line string) {
	if strings.Contains(line, "workqueue_items") {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) with(words ...string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for _, l := range j.lines {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(l, w) }) {
			found = append(found, l)
		}
	}
	return found
}

func (j *journal) tail(n int, words ...string) string {
	lines := j.with(words...)
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// request is one that an operator sent.
type request struct {
	method, path, accept string
	watch                bool
	received             *atomic.Int64 // bytes of the answer's body
}

func (r request) String() string { return r.method + " " + r.path }

// traffic keeps the requests of an operator.
type traffic struct {
	mu   sync.Mutex
	sent []request
}

func (tr *traffic) through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		sent := request{
			method: r.Method, path: r.URL.Path, accept: r.Header.Get("Accept"),
			watch: r.URL.Query().Has("watch"), received: new(atomic.Int64),
		}
		tr.mu.Lock()
		tr.sent = append(tr.sent, sent)
		tr.mu.Unlock()
		resp, err := next.RoundTrip(r)
		if err == nil {
			resp.Body = &counted{resp.Body, sent.received}
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// about lists what was asked of a namespace, without watches.
func (tr *traffic) about(namespace string) []request {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var found []request
	for _, r := range tr.sent {
		if strings.Contains(r.path+"/", "/namespaces/"+namespace+"/") && !r.watch {
			found = append(found, r)
		}
	}
	return found
}

func (tr *traffic) all() []request {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.sent)
}

// podServer stands for the internal port of every pod: each test's pods have
// a loopback address of their own.
type podServer struct {
	port int
	next atomic.Int32
	seen sync.Map // address -> status.Status
}

var (
	podsOnce sync.Once
	podsHere *podServer
)

func pods(t testing.TB) *podServer {
	t.Helper()
	podsOnce.Do(func() {
		listener, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			return
		}
		s := &podServer{port: listener.Addr().(*net.TCPAddr).Port}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			local := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).IP.String()
			seen, ok := s.seen.Load(local)
			if !ok || r.URL.Path != "/internal/status" {
				http.NotFound(w, r)
				return
			}
			writeJSON(w, seen.(status.Status))
		})}
		go func() { _ = server.Serve(listener) }()
		context.AfterFunc(background, func() { _ = server.Close() })
		podsHere = s
	})
	if podsHere == nil {
		t.Fatal("no port for the pods' server")
	}
	return podsHere
}

func (s *podServer) address() string {
	n := s.next.Add(1)
	return fmt.Sprintf("127.77.%d.%d", n/250, 1+n%250)
}

var allIsWell = status.Status{
	Role:     "api",
	Database: status.Dependency{Reachable: true, Version: "17.2"},
	Redis:    &status.Dependency{Reachable: true, Version: "7.4.1"},
}

// world is a test's namespace, and the machines that run what is in it.
type world struct {
	t         testing.TB
	namespace string
	client    client.WithWatch
	operator  *operator
	machines  *machines
	label     string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	installAPIs.Do(func() {
		cluster.Install(t, testenv.CertManager, testenv.GatewayAPI, testenv.KEDA, testenv.ServiceMonitor)
	})
	return bareWorld(t)
}

// bareWorld is one in a cluster that may lack the optional APIs.
func bareWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, client: cluster.Client(t, schemes...), operator: sharedOperator(t), namespace: cluster.Namespace(t)}
	w.machines = newMachines(t, w.namespace)
	return w
}

// privateWorld is one whose Stores the shared operator leaves alone.
func privateWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.label = w.namespace
	w.operator = nil
	return w
}

func (w *world) start(defaults plan.Images) { w.startLagging(defaults, nil) }

func (w *world) startLagging(defaults plan.Images, l *lag) {
	w.t.Helper()
	w.operator = startOperator(w.t, operatorOptions{
		user: w.namespace + "-operator", namespaces: []string{w.namespace}, stores: privateLabel + "=" + w.label, defaults: defaults, lag: l,
	})
	w.t.Cleanup(w.operator.stop)
}

// lag has a cache tell of a Store as it was.
type lag struct {
	client.Client
	store atomic.Pointer[v1alpha1.Store]
}

func (l *lag) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if s, ok := into.(*v1alpha1.Store); ok {
		if old := l.store.Load(); old != nil {
			old.DeepCopyInto(s)
			return nil
		}
	}
	return l.Client.Get(ctx, key, into, opts...)
}

// withoutTLS is the least of a Store.
const withoutTLS = `
domains: [shop.example.com]
tls: {disabled: true}
`

// issued has its certificate from an issuer of the user's.
const issued = `
domains: [shop.example.com]
tls: {issuerRef: {name: corporate}}
`

func (w *world) create(name, spec string) *v1alpha1.Store {
	w.t.Helper()
	s := &v1alpha1.Store{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	if w.label != "" {
		s.Labels = map[string]string{privateLabel: w.label}
	}
	if err := yaml.UnmarshalStrict([]byte(spec), &s.Spec); err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Create(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) get(name string, into client.Object) error {
	return w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, into)
}

func (w *world) store(name string) *v1alpha1.Store {
	w.t.Helper()
	return fetch(w, name, &v1alpha1.Store{})
}

// fetch reads an object that has to be there.
func fetch[T client.Object](w *world, name string, into T) T {
	w.t.Helper()
	if err := w.get(name, into); err != nil {
		w.t.Fatal(err)
	}
	return into
}

// change edits a Store's spec and metadata.
func (w *world) change(name string, edit func(*v1alpha1.Store)) {
	w.t.Helper()
	s := w.store(name)
	before := s.DeepCopy()
	edit(s)
	if err := w.client.Patch(w.t.Context(), s, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

// patch sends a merge patch for an object, as a person with kubectl would.
func (w *world) patch(o client.Object, name, patch string) {
	w.t.Helper()
	o.SetName(name)
	o.SetNamespace(w.namespace)
	raw, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Patch(w.t.Context(), o, client.RawPatch(types.MergePatchType, raw), client.FieldOwner("kubectl-edit")); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) secret(name string, data map[string]string) {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}, StringData: data}
	if err := w.client.Create(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

// eventually waits until check returns nil.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			said := ""
			if w.operator != nil {
				said = w.operator.log.tail(15, w.namespace)
			}
			w.t.Fatalf("%s: %v\nthe operator said:\n%s", what, err, said)
		case <-tick.C:
		}
	}
}

// until waits for a Store's condition; reason "" stands for any.
func (w *world) until(name, condition string, want metav1.ConditionStatus, reason string) *v1alpha1.Store {
	w.t.Helper()
	var s *v1alpha1.Store
	w.eventually(fmt.Sprintf("%s of Store %s to become %s %s", condition, name, want, reason), func() error {
		s = w.store(name)
		c := meta.FindStatusCondition(s.Status.Conditions, condition)
		switch {
		case c == nil:
			return fmt.Errorf("there is none; the conditions are\n%s", told(s))
		case c.ObservedGeneration != s.Generation || s.Status.ObservedGeneration != s.Generation:
			return fmt.Errorf("it speaks of generation %d of %d", c.ObservedGeneration, s.Generation)
		case c.Status != want || reason != "" && c.Reason != reason:
			return fmt.Errorf("the conditions are\n%s", told(s))
		}
		return nil
	})
	return s
}

func (w *world) untilReady(name string) *v1alpha1.Store {
	w.t.Helper()
	return w.until(name, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
}

// stalls waits until a Store is stalled, as kubectl describe tells it first.
func (w *world) stalls(name, reason string, words ...string) *v1alpha1.Store {
	w.t.Helper()
	s := w.until(name, v1alpha1.StalledCondition, metav1.ConditionTrue, reason)
	first, second := s.Status.Conditions[0], s.Status.Conditions[1]
	if first.Type != v1alpha1.ReadyCondition || first.Status != metav1.ConditionFalse || second.Type != v1alpha1.StalledCondition {
		w.t.Errorf("describe does not begin with Ready and Stalled:\n%s", told(s))
	}
	if meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ReconcilingCondition) != nil {
		w.t.Errorf("a stalled Store is not on its way:\n%s", told(s))
	}
	for _, word := range words {
		if !strings.Contains(first.Message, word) {
			w.t.Errorf("Ready's message does not say %q: %s", word, first.Message)
		}
	}
	return s
}

// told is what kubectl describe shows of the conditions.
func told(s *v1alpha1.Store) string {
	var b strings.Builder
	for _, c := range s.Status.Conditions {
		fmt.Fprintf(&b, "  %s=%s %s (generation %d): %s\n", c.Type, c.Status, c.Reason, c.ObservedGeneration, c.Message)
	}
	return b.String()
}

// reconciled counts the reconciles of a Store that ended.
func (w *world) reconciled(name string) int {
	return len(w.operator.log.with(`"msg"="Reconcile`, fmt.Sprintf(`"namespace"=%q "name"=%q`, w.namespace, name)))
}

// nudge has a Store reconciled once more and waits for it.
func (w *world) nudge(name string) {
	w.t.Helper()
	before := w.reconciled(name)
	w.change(name, func(s *v1alpha1.Store) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations["test.gocart/nudge"] = fmt.Sprint(before)
	})
	w.eventually("another reconcile", func() error {
		if n := w.reconciled(name); n <= before {
			return fmt.Errorf("%d reconciles, as before", n)
		}
		return nil
	})
}

// quiet waits until the operator has nothing more to say about the namespace:
// two reconciles on end without a request.
func (w *world) quiet(name string) {
	w.t.Helper()
	w.eventually("a reconcile without a request", func() error {
		before := len(w.operator.requests.about(w.namespace))
		w.nudge(name)
		w.nudge(name)
		if after := w.operator.requests.about(w.namespace); len(after) != before {
			return fmt.Errorf("requests: %v", after[before:])
		}
		return nil
	})
}

// events about a Store and its children, as "Reason note".
func (w *world) events() []string {
	w.t.Helper()
	var list eventsv1.EventList
	if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, e := range list.Items {
		all = append(all, e.Reason+" "+e.Note)
	}
	return all
}

func (w *world) untilEvent(words ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("an event that says %q", words), func() error {
		all := w.events()
		for _, e := range all {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(e, word) }) {
				return nil
			}
		}
		return fmt.Errorf("events are %q", all)
	})
}

func (w *world) untilGone(name string, o client.Object) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%T %s to be gone", o, name), func() error {
		err := w.get(name, o)
		if err == nil {
			return fmt.Errorf("it is there, with finalizers %v", o.GetFinalizers())
		}
		return client.IgnoreNotFound(err)
	})
}

// scale sets a Deployment's replicas as an autoscaler does.
func (w *world) scale(name string, replicas int32) {
	w.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	if err := w.client.SubResource("scale").Update(w.t.Context(), d, client.WithSubResourceBody(scale), client.FieldOwner("horizontal-pod-autoscaler")); err != nil {
		w.t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

func orOne(n *int32) *int32 {
	if n == nil {
		return ptr(int32(1))
	}
	return n
}

// patchStrategic edits an object of a built-in kind as kubectl edit does.
func (w *world) patchStrategic(o client.Object, name, patch string) {
	w.t.Helper()
	o.SetName(name)
	o.SetNamespace(w.namespace)
	raw, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Patch(w.t.Context(), o, client.RawPatch(types.StrategicMergePatchType, raw), client.FieldOwner("kubectl-edit")); err != nil {
		w.t.Fatal(err)
	}
}
