package main

import (
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gitee.com/captainjez/gocart/hack/internal/apt"
	"gitee.com/captainjez/gocart/hack/internal/ociarchive"
	"gitee.com/captainjez/gocart/hack/internal/tools"
)

// native is a cluster of real programs on this machine.
type native struct{ state string }

func (native) name() string { return "native" }

//go:embed manifests/*.yaml
var manifests embed.FS

var errNoCluster = errors.New("there is no cluster: go run ./hack/cluster up")

var programs = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
	"containerd", "containerd-shim-runc-v2", "ctr",
	"pause", "coredns", "metrics-server", "storage-provisioner",
}

// up leaves a healthy cluster behind or an error that says what is wrong.
func (c native) up(ctx context.Context, nodes int) error {
	start := time.Now()
	s, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	unlock, err := lockCluster()
	if err != nil {
		return err
	}
	defer unlock()

	var made spec
	found := readJSON(filepath.Join(c.state, specFile), &made) == nil
	if nodes == 0 {
		nodes = max(1, made.Nodes)
	}
	l, err := newLayout(c.state, nodes)
	if err != nil {
		return err
	}
	wrong := errNoCluster
	switch {
	case found && made.Nodes == nodes && made.Boot != bootID():
		wrong = errors.New("the machine was started anew")
	case found && made.Nodes == nodes:
		wrong = c.healthy(ctx, l, s)
	}
	if wrong == nil {
		say("the cluster is up: %d node(s), KUBECONFIG=%s", nodes, l.kubeconfig())
		return nil
	}
	switch {
	case found && made.Nodes != nodes:
		say("the cluster has %d node(s) and %d are wanted: making it anew", made.Nodes, nodes)
		if err := c.remove(ctx); err != nil {
			return err
		}
		found = false
	case found:
		say("the cluster is not whole (%v): repairing it", wrong)
	case c.traces():
		say("a half-made cluster is in the way: removing it")
		if err := c.remove(ctx); err != nil {
			return err
		}
	}
	err = c.bring(ctx, l, s, made)
	if err != nil && found && ctx.Err() == nil && !c.serves(ctx, l) {
		say("it cannot be repaired (%v): making it anew", err)
		if err := c.remove(ctx); err != nil {
			return err
		}
		err = c.bring(ctx, l, s, spec{})
	}
	if err != nil {
		return err
	}
	say("the cluster is up after %.0fs: %d node(s), KUBECONFIG=%s", time.Since(start).Seconds(), nodes, l.kubeconfig())
	return nil
}

// prepare installs and builds what the cluster consists of.
func (c native) prepare(ctx context.Context) (settings, error) {
	if err := apt.Ensure(ctx, needs...); err != nil {
		return settings{}, err
	}
	bin, err := tools.Paths(ctx, programs...)
	if err != nil {
		return settings{}, err
	}
	runc, err := apt.Find("runc")
	if err != nil {
		return settings{}, err
	}
	s := settings{
		runc:        runc,
		cni:         "/usr/lib/cni",
		bin:         bin,
		shim:        bin["containerd-shim-runc-v2"],
		restrictOOM: !hasCapability(capSysResource),
		snapshotter: "native",
	}
	if kernel, err := os.ReadFile("/proc/filesystems"); err == nil && slices.Contains(strings.Fields(string(kernel)), "overlay") {
		s.snapshotter = "overlayfs"
	} else if exec.CommandContext(ctx, "modprobe", "overlay").Run() == nil {
		s.snapshotter = "overlayfs"
	}
	return s, nil
}

// bring makes what is missing and starts what does not run, in order.
func (c native) bring(ctx context.Context, l layout, s settings, before spec) error {
	if err := os.MkdirAll(l.State, 0o755); err != nil {
		return err
	}
	if err := rememberFootprint(l); err != nil {
		return err
	}
	if before.Boot != "" && before.Boot != bootID() {
		if err := c.forgetBoot(l); err != nil {
			return err
		}
	}
	if err := writeJSON(l.path(specFile), spec{Backend: "native", Nodes: len(l.Nodes), Boot: bootID()}); err != nil {
		return err
	}
	if err := c.configure(l, &s); err != nil {
		return err
	}
	p := newProcesses(l)
	if !networkStands(ctx, l) {
		err := step("making the network", func() error {
			if err := c.stopEverything(ctx, l); err != nil {
				return err
			}
			if err := deleteNetwork(ctx); err != nil {
				return err
			}
			return createNetwork(ctx, l)
		})
		if err != nil {
			return err
		}
	}
	server, err := newAPI(l)
	if err != nil {
		return err
	}
	plane := controlPlane(l, s)
	for _, phase := range []struct {
		name string
		run  func() error
	}{
		{"starting etcd, kube-apiserver and containerd", func() error {
			return c.start(ctx, p, append(slices.Clone(plane[:2]), each(l, func(n node) daemon { return containerd(n, s) })...))
		}},
		{"loading the cluster's own images", func() error { return c.loadSystemImages(ctx, l, s) }},
		{"waiting for the API server", func() error {
			return c.wait(ctx, p, 2*time.Minute, plane[:2], func() error {
				if err := server.ready(ctx); err != nil {
					return err
				}
				return server.get(ctx, "/api/v1/namespaces/kube-system", nil)
			})
		}},
		{"starting the controllers, kubelet and kube-proxy", func() error {
			all := slices.Clone(plane[2:])
			all = append(all, each(l, func(n node) daemon { return kubelet(n, s) })...)
			all = append(all, each(l, func(n node) daemon { return kubeProxy(l, n, s) })...)
			return c.start(ctx, p, all)
		}},
		{"installing DNS, metrics and storage", func() error { return c.install(ctx, l, s) }},
		{"starting the storage provisioner", func() error { return c.start(ctx, p, []daemon{storageProvisioner(l, s)}) }},
		{"waiting until everything is ready", func() error {
			return c.wait(ctx, p, 4*time.Minute, daemons(l, s), func() error { return c.answers(ctx, l, server) })
		}},
	} {
		if err := step(phase.name, phase.run); err != nil {
			return err
		}
	}
	return nil
}

func (c native) configure(l layout, s *settings) error {
	if err := ensureCertificates(l); err != nil {
		return err
	}
	for file, id := range map[string]string{
		"kubeconfig":                     "admin",
		"controller-manager.kubeconfig":  "controller-manager",
		"scheduler.kubeconfig":           "scheduler",
		"kube-proxy.kubeconfig":          "proxy",
		"storage-provisioner.kubeconfig": "storage-provisioner",
	} {
		if err := writeKubeconfig(l, l.path(file), id); err != nil {
			return err
		}
	}
	for _, tool := range []string{"pause", "coredns", "metrics-server"} {
		if _, _, err := systemImage(l, *s, tool); err != nil {
			return err
		}
	}
	s.pauseImage = systemImageName("pause", s.bin["pause"])
	for _, n := range l.Nodes {
		if err := ensureCgroup(n); err != nil {
			return err
		}
		if err := writeNodeConfig(l, n, *s); err != nil {
			return err
		}
	}
	return nil
}

func each(l layout, make func(node) daemon) []daemon {
	var all []daemon
	for _, n := range l.Nodes {
		all = append(all, make(n))
	}
	return all
}

// daemons lists everything that has to run.
func daemons(l layout, s settings) []daemon {
	all := controlPlane(l, s)
	for _, n := range l.Nodes {
		all = append(all, containerd(n, s), kubelet(n, s), kubeProxy(l, n, s))
	}
	return append(all, storageProvisioner(l, s))
}

func (c native) start(ctx context.Context, p processes, all []daemon) error {
	for _, d := range all {
		if _, err := p.ensure(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// wait polls check, and gives up early when one of the daemons has ended.
func (c native) wait(ctx context.Context, p processes, limit time.Duration, all []daemon, check func() error) error {
	var ended error
	err := poll(ctx, limit, func() error {
		for _, d := range all {
			if r, err := p.load(d.name); err != nil || !r.alive() {
				ended = fmt.Errorf("%s ended; the end of %s:\n%s", d.name, p.log(d.name), p.lastWords(d.name))
				return nil
			}
		}
		return check()
	})
	if ended != nil {
		return ended
	}
	return err
}

func (c native) loadSystemImages(ctx context.Context, l layout, s settings) error {
	p := newProcesses(l)
	return onEach(l, func(n node) error {
		err := c.wait(ctx, p, time.Minute, []daemon{containerd(n, s)}, func() error {
			return execute(ctx, s.bin["ctr"], "--address="+n.containerdSocket(), "version")
		})
		if err != nil {
			return err
		}
		for _, tool := range []string{"pause", "coredns", "metrics-server"} {
			name, archive, err := systemImage(l, s, tool)
			if err != nil {
				return err
			}
			if hasImage(ctx, n, s, name) {
				continue
			}
			if err := loadImage(ctx, n, s, archive); err != nil {
				return err
			}
		}
		return nil
	})
}

// onEach does the same to all nodes at once.
func onEach(l layout, do func(node) error) error {
	errs := make([]error, len(l.Nodes))
	var all sync.WaitGroup
	for i, n := range l.Nodes {
		all.Go(func() { errs[i] = do(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// install applies the cluster's own workloads and remembers which.
func (c native) install(ctx context.Context, l layout, s settings) error {
	text, err := workloads(l, s)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.bin["kubectl"], "--kubeconfig="+l.kubeconfig(),
		"apply", "--server-side", "--force-conflicts", "--field-manager=gocart-cluster", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("applying the cluster's own workloads: %w: %s", err, out)
	}
	return writeFile(l.path("installed.yaml"), []byte(text), 0o600)
}

// workloads renders what runs in the cluster to make it one: DNS, metrics and
// storage.
func workloads(l layout, s settings) (string, error) {
	values := []string{"{{domain}}", domain, "{{dns}}", dnsService, "{{provisioner}}", storageProvisionerName}
	for name, file := range map[string]string{"{{ca}}": "ca.crt", "{{crt}}": "metrics-server.crt", "{{key}}": "metrics-server.key"} {
		data, err := os.ReadFile(l.pki(file))
		if err != nil {
			return "", err
		}
		values = append(values, name, base64.StdEncoding.EncodeToString(data))
	}
	var all []string
	for _, file := range []string{"coredns", "metrics-server", "storage"} {
		text, err := manifests.ReadFile("manifests/" + file + ".yaml")
		if err != nil {
			return "", err
		}
		own := values
		if program := s.bin[file]; program != "" {
			own = append(slices.Clone(values), "{{image}}", systemImageName(file, program))
		}
		all = append(all, strings.NewReplacer(own...).Replace(string(text)))
	}
	return strings.Join(all, "\n---\n"), nil
}

// answers asks the cluster whether it is ready.
func (c native) answers(ctx context.Context, l layout, server api) error {
	if err := server.ready(ctx); err != nil {
		return err
	}
	for _, n := range l.Nodes {
		if err := server.nodeReady(ctx, n.Name); err != nil {
			return err
		}
	}
	for _, name := range []string{"coredns", "metrics-server"} {
		if err := server.deploymentReady(ctx, "kube-system", name); err != nil {
			return err
		}
	}
	return server.serviceAPIReady(ctx, "v1beta1.metrics.k8s.io")
}

// serves says whether the API server and the nodes work: then whatever else is
// wrong is no reason to throw away what people keep in the cluster.
func (c native) serves(ctx context.Context, l layout) bool {
	server, err := newAPI(l)
	if err != nil || server.ready(ctx) != nil {
		return false
	}
	for _, n := range l.Nodes {
		if server.nodeReady(ctx, n.Name) != nil {
			return false
		}
	}
	return true
}

// healthy says what is wrong with the cluster, or nil. It changes nothing but
// configuration files that are out of date, which the next step would notice.
func (c native) healthy(ctx context.Context, l layout, s settings) error {
	if err := c.configure(l, &s); err != nil {
		return err
	}
	p := newProcesses(l)
	for _, d := range daemons(l, s) {
		hash, err := d.hash()
		if err != nil {
			return err
		}
		r, err := p.load(d.name)
		if err != nil || !r.alive() {
			return fmt.Errorf("%s does not run", d.name)
		}
		if r.Hash != hash {
			return fmt.Errorf("%s runs with an old configuration", d.name)
		}
	}
	if !networkStands(ctx, l) {
		return errors.New("the network is not whole")
	}
	wanted, err := workloads(l, s)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(l.path("installed.yaml")); err != nil || string(have) != wanted {
		return errors.New("its own workloads are out of date")
	}
	server, err := newAPI(l)
	if err != nil {
		return err
	}
	return c.answers(ctx, l, server)
}

// traces says whether anything of a cluster is left whose state is not.
func (c native) traces() bool {
	return len(ourNamespaces()) > 0 || len(ourCgroups()) > 0 || exists(filepath.Join(c.state, "run"))
}

// forgetBoot removes what containerd and runc would keep on a file system that
// ends with the machine's boot.
func (c native) forgetBoot(l layout) error {
	for _, n := range l.Nodes {
		for _, dir := range []string{"containerd-run", "runc", "containerd.sock", "containerd.sock.ttrpc"} {
			if err := os.RemoveAll(n.path(dir)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c native) down(ctx context.Context) error {
	unlock, err := lockCluster()
	if err != nil {
		return err
	}
	defer unlock()
	start := time.Now()
	if !exists(c.state) && !c.traces() {
		say("there is no cluster")
		return os.Remove(lockFile)
	}
	if err := c.remove(ctx); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(c.state)) // only when nothing else is in it
	say("the cluster is gone after %.0fs; built programs are kept", time.Since(start).Seconds())
	return os.Remove(lockFile)
}

// remove ends and deletes everything, whatever state it is in.
func (c native) remove(ctx context.Context) error {
	l := layout{State: c.state}
	for _, remove := range []struct {
		name string
		run  func() error
	}{
		{"ending every process", func() error { return c.stopEverything(ctx, l) }},
		{"deleting the network", func() error { return deleteNetwork(ctx) }},
		{"unmounting", func() error { return unmountBelow(ctx, l.State) }},
		{"deleting cgroups", func() error { return poll(ctx, 10*time.Second, deleteCgroups) }},
		{"putting the host back", func() error { return restoreFootprint(ctx, l) }},
		{"deleting the state", func() error {
			if left := mountsBelow(l.State); len(left) > 0 { // never delete through a mount
				return fmt.Errorf("%s is still mounted", left[0])
			}
			return os.RemoveAll(l.State)
		}},
	} {
		if err := remove.run(); err != nil {
			return fmt.Errorf("%s: %w", remove.name, err)
		}
	}
	return nil
}

// stopEverything ends the kubelets first, so that nothing comes back, then what
// the pods run, then the rest.
func (c native) stopEverything(ctx context.Context, l layout) error {
	p := newProcesses(l)
	all, err := p.all()
	if err != nil {
		return err
	}
	stop := func(match func(name string) bool) error {
		var names []string
		for _, r := range all {
			if match(r.Name) {
				names = append(names, r.Name)
			}
		}
		return p.stop(ctx, names...)
	}
	// Others need these to end well.
	isLast := func(name string) bool { return name == "etcd" || strings.HasSuffix(name, "-containerd") }
	if err := stop(func(name string) bool { return strings.HasSuffix(name, "-kubelet") }); err != nil {
		return err
	}
	if err := endAll(ctx, "pods", podProcesses); err != nil {
		return err
	}
	// With its processes gone and containerd still there, a shim cleans up after
	// itself and ends.
	_ = poll(ctx, 5*time.Second, func() error {
		if len(shims(l)) > 0 {
			return errors.New("shims are ending")
		}
		return nil
	})
	if err := stop(func(name string) bool { return !isLast(name) }); err != nil {
		return err
	}
	if err := stop(isLast); err != nil {
		return err
	}
	return endAll(ctx, "containerd's shims", func() []int { return shims(l) })
}

func (c native) status(ctx context.Context) error {
	var made spec
	if err := readJSON(filepath.Join(c.state, specFile), &made); err != nil {
		return errNoCluster
	}
	l, err := newLayout(c.state, made.Nodes)
	if err != nil {
		return err
	}
	p := newProcesses(l)
	all, err := p.all()
	if err != nil {
		return err
	}
	var wrong []string
	for _, r := range all {
		state := "running"
		if !r.alive() {
			state = "ended"
			wrong = append(wrong, r.Name)
		}
		fmt.Printf("%-28s %8d  %s\n", r.Name, r.PID, state)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("these have ended (up starts them again): %s", strings.Join(wrong, ", "))
	}
	server, err := newAPI(l)
	if err != nil {
		return err
	}
	if err := c.answers(ctx, l, server); err != nil {
		return err
	}
	fmt.Printf("%d node(s) ready at %s, KUBECONFIG=%s\n", made.Nodes, l.server(), l.kubeconfig())
	return nil
}

func (c native) load(ctx context.Context, archives []string) error {
	var made spec
	if err := readJSON(filepath.Join(c.state, specFile), &made); err != nil {
		return errNoCluster
	}
	l, err := newLayout(c.state, made.Nodes)
	if err != nil {
		return err
	}
	ctr, err := tools.Path(ctx, "ctr")
	if err != nil {
		return err
	}
	s := settings{bin: map[string]string{"ctr": ctr}}
	for _, archive := range archives {
		names, err := ociarchive.Names(archive)
		if err != nil {
			return err
		}
		if err := onEach(l, func(n node) error { return loadImage(ctx, n, s, archive) }); err != nil {
			return err
		}
		say("loaded %s into %d node(s)", strings.Join(names, " "), len(l.Nodes))
	}
	return nil
}

func (c native) kubeconfig(context.Context) (string, error) {
	path := layout{State: c.state}.kubeconfig()
	if !exists(path) {
		return "", errNoCluster
	}
	return path, nil
}

// say tells a person what happens, on standard error: standard output is for
// answers.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func step(name string, run func() error) error {
	start := time.Now()
	if err := run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	say("%s ... %.1fs", name, time.Since(start).Seconds())
	return nil
}
