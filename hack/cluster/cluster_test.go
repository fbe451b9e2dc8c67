package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func testLayout(t *testing.T, nodes int) layout {
	t.Helper()
	l, err := newLayout(t.TempDir(), nodes)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testSettings() settings {
	s := settings{runc: "/usr/sbin/runc", cni: "/usr/lib/cni", pauseImage: "gocart.local/pause:x", shim: "/bin/shim", snapshotter: "overlayfs", bin: map[string]string{}}
	for _, name := range programs {
		s.bin[name] = "/bin/" + name
	}
	return s
}

func TestNodesHaveAddressesOfTheirOwn(t *testing.T) {
	l := testLayout(t, 3)
	seen := map[string]bool{hostIP: true}
	for _, n := range l.Nodes {
		for _, value := range []string{n.Name, n.IP, n.PodCIDR, n.Dir, n.cgroup(), n.gateway()} {
			if seen[value] {
				t.Errorf("%s: %s is taken", n.Name, value)
			}
			seen[value] = true
		}
		if longest := len(n.containerdSocket()); longest > 107+len(l.State) {
			t.Errorf("%s is too long for a socket", n.containerdSocket())
		}
	}
	if got := l.first().IP; got != "10.200.0.2" {
		t.Errorf("the first node is at %s", got)
	}
}

func TestOnlyOneToThreeNodes(t *testing.T) {
	for _, n := range []int{0, 4, -1} {
		if _, err := newLayout("/x", n); err == nil {
			t.Errorf("%d nodes were accepted", n)
		}
	}
	for text, want := range map[string]int{"": 0, "1": 1, "3": 3} {
		t.Setenv("NODES", text)
		if got, err := wantedNodes(); err != nil || got != want {
			t.Errorf("NODES=%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "4", "many"} {
		t.Setenv("NODES", text)
		if _, err := wantedNodes(); err == nil {
			t.Errorf("NODES=%q was accepted", text)
		}
	}
}

func TestARouteThatClashesIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		route hostRoute
		clash bool
	}{
		"the default route":          {hostRoute{"default", "eth0"}, false},
		"another network":            {hostRoute{"192.168.1.0/24", "eth0"}, false},
		"a wider one of a company":   {hostRoute{"10.0.0.0/8", "eth0"}, false},
		"another cluster's pods":     {hostRoute{"10.244.0.0/24", "cni0"}, true},
		"the very same range":        {hostRoute{"10.96.0.0/16", "tun0"}, true},
		"one address out of ours":    {hostRoute{"10.200.0.7", "eth0"}, true},
		"our own from an earlier up": {hostRoute{"10.244.1.0/24", hostDevice}, false},
	} {
		if _, _, found := clash([]hostRoute{c.route}); found != c.clash {
			t.Errorf("%s: clash is %t", name, found)
		}
	}
}

func TestStatIsReadPastAnyProgramName(t *testing.T) {
	for _, line := range []string{
		"42 (etcd) S 1 42 42 0 -1 4194560 1 0 0 0 3 1 0 0 20 0 9 0 777 1 2",
		"42 (a) Z 1 (b) S 1 42 42 0 -1 4194560 1 0 0 0 3 1 0 0 20 0 9 0 777 1 2",
	} {
		got, err := parseStat([]byte(line))
		if err != nil || got.start != 777 || got.state != 'S' {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
	if _, err := parseStat([]byte("42 (x) S 1")); err == nil {
		t.Error("a short line was accepted")
	}
}

func TestAReusedPidIsNotOurs(t *testing.T) {
	self, err := readStat(os.Getpid())
	if err != nil {
		t.Skip("no /proc here")
	}
	ours := record{PID: os.Getpid(), Start: self.start, Boot: bootID()}
	if !ours.alive() {
		t.Error("this very process is taken for dead")
	}
	for name, r := range map[string]record{
		"another start": {PID: ours.PID, Start: ours.Start + 1, Boot: ours.Boot},
		"another boot":  {PID: ours.PID, Start: ours.Start, Boot: "x"},
		"never started": {Boot: ours.Boot},
		"long gone pid": {PID: 1 << 30, Start: ours.Start, Boot: ours.Boot},
	} {
		if r.alive() {
			t.Errorf("%s: taken for ours", name)
		}
	}
}

func TestStopLeavesAReusedPidAlone(t *testing.T) {
	l := testLayout(t, 1)
	p := newProcesses(l)
	// The record names this test's own pid with another start: were it killed,
	// nobody would be left to say so.
	if err := writeJSON(filepath.Join(p.records, "etcd.json"), record{Name: "etcd", PID: os.Getpid(), Start: 1, Boot: bootID()}); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(context.Background(), "etcd"); err != nil {
		t.Fatal(err)
	}
	if all, err := p.all(); err != nil || len(all) != 0 {
		t.Errorf("records left: %v, %v", all, err)
	}
}

func TestADaemonsHashFollowsItsFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	d := daemon{name: "x", program: "/bin/x", args: []string{"--config=" + file}, reads: []string{file}}
	hash := func(d daemon) string {
		got, err := d.hash()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if err := os.WriteFile(file, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := hash(d)
	if hash(d) != before {
		t.Error("the hash is not stable")
	}
	if err := os.WriteFile(file, []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if hash(d) == before {
		t.Error("a changed file kept the hash")
	}
}

func TestConfigurationIsWholeAndStaysInItsFolder(t *testing.T) {
	l, s := testLayout(t, 2), testSettings()
	s.restrictOOM = true
	if err := ensureCertificates(l); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes {
		if err := writeNodeConfig(l, n, s); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"kubelet.json", "kube-proxy.json", "cni/10-gocart.conflist"} {
			data, err := os.ReadFile(n.path(file))
			if err != nil || !json.Valid(data) {
				t.Errorf("%s is no JSON: %v", file, err)
			}
		}
		toml, err := os.ReadFile(n.path("containerd.toml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"restrict_oom_score_adj = true", "sandbox = 'gocart.local/pause:x'", "address = '" + n.containerdSocket() + "'"} {
			if !strings.Contains(string(toml), want) {
				t.Errorf("containerd's configuration lacks %s", want)
			}
		}
		if strings.ContainsAny(string(toml), "{}") {
			t.Error("a placeholder is left in containerd's configuration")
		}
	}
	for _, d := range daemons(l, s) {
		if _, err := d.hash(); err != nil && !strings.HasSuffix(err.Error(), "kubeconfig: no such file or directory") {
			t.Errorf("%s reads a file that nobody writes: %v", d.name, err)
		}
		if d.program == "" || d.namespace == "" {
			t.Errorf("%s is not whole: %+v", d.name, d)
		}
	}
}

func TestCertificatesAreGoodForWhatTheyAreFor(t *testing.T) {
	l := testLayout(t, 1)
	if err := ensureCertificates(l); err != nil {
		t.Fatal(err)
	}
	read := func(name string) *x509.Certificate {
		data, err := os.ReadFile(l.pki(name + ".crt"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	pool := x509.NewCertPool()
	pool.AddCert(read("ca"))
	for _, host := range []string{"10.200.0.2", apiService, "kubernetes.default.svc"} {
		if _, err := read("apiserver").Verify(x509.VerifyOptions{DNSName: host, Roots: pool}); err != nil {
			t.Errorf("the API server as %s: %v", host, err)
		}
	}
	client := read("gocart-node1")
	if client.Subject.CommonName != "system:node:gocart-node1" || !slices.Contains(client.Subject.Organization, "system:nodes") {
		t.Errorf("the kubelet is %s", client.Subject)
	}
	before := read("admin").SerialNumber
	if err := ensureCertificates(l); err != nil {
		t.Fatal(err)
	}
	if read("admin").SerialNumber.Cmp(before) != 0 {
		t.Error("a certificate that was there was made anew")
	}
	if info, err := os.Stat(l.pki("ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the authority's key is readable by others: %v %v", info.Mode(), err)
	}
}

func TestMountPointsBelowAFolder(t *testing.T) {
	const info = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /var/lib/gocart/cluster/n/a rw - tmpfs tmpfs rw
31 22 0:31 / /var/lib/gocart/cluster/n/with\040space rw - tmpfs tmpfs rw
32 22 0:32 / /var/lib/gocart/cluster2 rw - tmpfs tmpfs rw
`
	want := []string{"/var/lib/gocart/cluster/n/a", "/var/lib/gocart/cluster/n/with space"}
	if got := mountPoints(info, "/var/lib/gocart/cluster"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCgroupHierarchiesOfVersionOne(t *testing.T) {
	const info = `30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup rw
`
	if got, want := cgroupMounts(info, "cgroup"), []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/systemd"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCapabilities(t *testing.T) {
	const status = "Name:\tx\nCapEff:\t000001fffeffffff\n"
	if !capability(status, capNetAdmin) || !capability(status, capSysAdmin) {
		t.Error("capabilities that are there are not seen")
	}
	if capability(status, capSysResource) {
		t.Error("CAP_SYS_RESOURCE is seen where it is not")
	}
}

func TestPollReturnsTheLastAnswer(t *testing.T) {
	calls := 0
	err := poll(context.Background(), time.Minute, func() error {
		if calls++; calls < 3 {
			return os.ErrNotExist
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := poll(context.Background(), time.Millisecond, func() error { return os.ErrPermission }); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
}
