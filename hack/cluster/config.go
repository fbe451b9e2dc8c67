package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// settings are facts about this machine that the configuration depends on.
type settings struct {
	runc        string
	cni         string // folder of the CNI plugins
	restrictOOM bool   // no CAP_SYS_RESOURCE: a negative oom_score_adj cannot be set
	pauseImage  string
	shim        string // path of the containerd shim
	snapshotter string
	bin         map[string]string
}

const storageProvisionerName = "gocart.local/directory"

// writeNodeConfig renders everything under a node's folder.
func writeNodeConfig(l layout, n node, s settings) error {
	kubelet, err := json.MarshalIndent(kubeletConfig(l, n, s), "", "  ")
	if err != nil {
		return err
	}
	proxy, err := json.MarshalIndent(proxyConfig(l, n), "", "  ")
	if err != nil {
		return err
	}
	network, err := json.MarshalIndent(cniConfig(l, n), "", "  ")
	if err != nil {
		return err
	}
	for path, data := range map[string][]byte{
		n.path("containerd.toml"):           []byte(containerdConfig(n, s)),
		n.path("kubelet.json"):              kubelet,
		n.path("kube-proxy.json"):           proxy,
		n.path("cni", "10-gocart.conflist"): network,
		n.path("resolv.conf"):               []byte("# The cluster has no way out; its own DNS is all there is.\n"),
	} {
		if err := writeFile(path, data, 0o600); err != nil {
			return err
		}
	}
	if err := writeKubeconfig(l, n.path("kubelet.kubeconfig"), n.Name); err != nil {
		return err
	}
	// The storage provisioner makes volumes here; pods of any user pass through.
	return os.MkdirAll(n.path("volumes"), 0o755)
}

func containerdConfig(n node, s settings) string {
	return strings.NewReplacer(
		"{root}", n.path("containerd"),
		"{state}", n.path("containerd-run"),
		"{socket}", n.containerdSocket(),
		"{shimsockets}", shimSockets(n),
		"{snapshotter}", s.snapshotter,
		"{pause}", s.pauseImage,
		"{restrict}", strconv.FormatBool(s.restrictOOM),
		"{cni}", s.cni,
		"{cniconf}", n.path("cni"),
		"{shim}", s.shim,
		"{runc}", s.runc,
		"{runcroot}", n.path("runc"),
	).Replace(containerdText)
}

// shimSockets is a folder for the shims' sockets, whose names of 64 characters
// leave 42 for the folder; empty means containerd's own.
func shimSockets(n node) string {
	if dir := n.path("s"); len(dir) <= 42 {
		return dir
	}
	return ""
}

const containerdText = `version = 3
root = '{root}'
state = '{state}'
disabled_plugins = [
  'io.containerd.internal.v1.opt',
  'io.containerd.nri.v1.nri',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.erofs',
  'io.containerd.snapshotter.v1.zfs',
]

[grpc]
address = '{socket}'

[plugins.'io.containerd.shim.v1.manager']
socket_dir = '{shimsockets}'

[plugins.'io.containerd.cri.v1.images']
snapshotter = '{snapshotter}'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause}'

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = {restrict}
netns_mounts_under_state_dir = true
enable_unprivileged_ports = true
disable_hugetlb_controller = true
tolerate_missing_hugetlb_controller = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{cni}']
conf_dir = '{cniconf}'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
runtime_path = '{shim}'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{runc}'
Root = '{runcroot}'
SystemdCgroup = false
`

func kubeletConfig(l layout, n node, s settings) map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": l.pki("ca.crt")},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              l.pki(n.Name + "-serving.crt"),
		"tlsPrivateKeyFile":        l.pki(n.Name + "-serving.key"),
		"containerRuntimeEndpoint": "unix://" + n.containerdSocket(),
		"cgroupDriver":             "cgroupfs",
		// Several kubelets on one machine would remove each other's pods' cgroups.
		"cgroupRoot":      n.cgroup(),
		"failCgroupV1":    false,
		"failSwapOn":      false,
		"oomScoreAdj":     0,
		"clusterDNS":      []string{dnsService},
		"clusterDomain":   domain,
		"resolvConf":      n.path("resolv.conf"),
		"podLogsDir":      n.path("pod-logs"),
		"volumePluginDir": n.path("volume-plugins"),
		"evictionHard": map[string]string{
			"memory.available":  "100Mi",
			"nodefs.available":  "1%",
			"nodefs.inodesFree": "1%",
			"imagefs.available": "1%",
		},
		// Images come by "load", not from a registry: one that is collected is gone.
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"maxPods":                     110,
	}
}

func proxyConfig(l layout, n node) map[string]any {
	return map[string]any{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"clientConnection": map[string]any{"kubeconfig": l.path("kube-proxy.kubeconfig")},
		"clusterCIDR":      podCIDR,
		"hostnameOverride": n.Name,
		"mode":             "iptables",
		"oomScoreAdj":      0,
		"conntrack":        map[string]any{"maxPerCore": 0, "min": 0},
		"iptables":         map[string]any{"minSyncPeriod": "200ms"},
	}
}

// cniConfig uses ptp, not bridge: every packet between pods is routed, so
// kube-proxy's rules hold without the br_netfilter module.
func cniConfig(l layout, n node) map[string]any {
	return map[string]any{
		"cniVersion": "1.0.0",
		"name":       n.Name,
		"plugins": []any{
			map[string]any{
				"type":   "ptp",
				"ipMasq": false,
				"ipam": map[string]any{
					"type":    "host-local",
					"dataDir": n.path("cni-addresses"),
					"ranges":  []any{[]any{map[string]any{"subnet": n.PodCIDR}}},
					"routes":  []any{map[string]any{"dst": "0.0.0.0/0"}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	}
}

// controlPlane lists the daemons of the first node that hold the cluster's state
// and decide.
func controlPlane(l layout, s settings) []daemon {
	first := l.first()
	pki := l.pki
	etcd := "https://" + first.IP + ":2379"
	return []daemon{
		{name: "etcd", program: s.bin["etcd"], namespace: first.Name, reads: []string{pki("etcd.crt")}, args: []string{
			"--name=gocart", "--data-dir=" + l.path("etcd"),
			"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=http://127.0.0.1:2380",
			"--cert-file=" + pki("etcd.crt"), "--key-file=" + pki("etcd.key"),
			"--client-cert-auth", "--trusted-ca-file=" + pki("etcd-ca.crt"),
			// A test cluster may lose its last second in a power cut.
			"--unsafe-no-fsync",
			"--log-level=warn",
		}},
		{name: "kube-apiserver", program: s.bin["kube-apiserver"], namespace: first.Name, reads: []string{pki("apiserver.crt")}, args: []string{
			"--advertise-address=" + first.IP, "--bind-address=0.0.0.0", fmt.Sprintf("--secure-port=%d", apiServerPort),
			"--service-cluster-ip-range=" + serviceCIDR,
			"--etcd-servers=" + etcd, "--etcd-cafile=" + pki("etcd-ca.crt"),
			"--etcd-certfile=" + pki("apiserver-etcd.crt"), "--etcd-keyfile=" + pki("apiserver-etcd.key"),
			"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
			"--client-ca-file=" + pki("ca.crt"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--kubelet-certificate-authority=" + pki("ca.crt"),
			"--kubelet-client-certificate=" + pki("apiserver-kubelet.crt"), "--kubelet-client-key=" + pki("apiserver-kubelet.key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc." + domain,
			"--service-account-key-file=" + pki("service-accounts.key"), "--service-account-signing-key-file=" + pki("service-accounts.key"),
			"--requestheader-client-ca-file=" + pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=" + pki("front-proxy.crt"), "--proxy-client-key-file=" + pki("front-proxy.key"),
			"--enable-aggregator-routing=true",
		}},
		{name: "kube-controller-manager", program: s.bin["kube-controller-manager"], namespace: first.Name, reads: []string{l.path("controller-manager.kubeconfig")}, args: []string{
			"--kubeconfig=" + l.path("controller-manager.kubeconfig"),
			"--authentication-kubeconfig=" + l.path("controller-manager.kubeconfig"),
			"--authorization-kubeconfig=" + l.path("controller-manager.kubeconfig"),
			"--leader-elect=false", "--use-service-account-credentials=true",
			"--root-ca-file=" + pki("ca.crt"), "--service-account-private-key-file=" + pki("service-accounts.key"),
			"--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
			"--requestheader-client-ca-file=" + pki("front-proxy-ca.crt"),
			"--cluster-name=gocart", "--cluster-cidr=" + podCIDR, "--service-cluster-ip-range=" + serviceCIDR,
			"--allocate-node-cidrs=false", "--cert-dir=" + l.path("controller-manager"),
		}},
		{name: "kube-scheduler", program: s.bin["kube-scheduler"], namespace: first.Name, reads: []string{l.path("scheduler.kubeconfig")}, args: []string{
			"--kubeconfig=" + l.path("scheduler.kubeconfig"),
			"--authentication-kubeconfig=" + l.path("scheduler.kubeconfig"),
			"--authorization-kubeconfig=" + l.path("scheduler.kubeconfig"),
			"--leader-elect=false", "--cert-dir=" + l.path("scheduler"),
		}},
	}
}

func storageProvisioner(l layout, s settings) daemon {
	return daemon{
		name: "storage-provisioner", program: s.bin["storage-provisioner"], namespace: l.first().Name,
		reads: []string{l.path("storage-provisioner.kubeconfig")},
		args: []string{
			"--kubeconfig=" + l.path("storage-provisioner.kubeconfig"),
			"--name=" + storageProvisionerName,
			"--root=" + l.path("{node}", "volumes"),
		},
	}
}

func containerd(n node, s settings) daemon {
	return daemon{
		name: n.Name + "-containerd", program: s.bin["containerd"], namespace: n.Name,
		reads: []string{n.path("containerd.toml")},
		args:  []string{"--config=" + n.path("containerd.toml"), "--log-level=warn"},
		// A containerd that is started again looks for its shims' program on the
		// PATH, whatever runtime_path says, and gives up on its pods without it.
		env: []string{"PATH=" + filepath.Dir(s.shim) + ":" + searchPath},
	}
}

func kubelet(n node, s settings) daemon {
	return daemon{
		name: n.Name + "-kubelet", program: s.bin["kubelet"], namespace: n.Name,
		reads: []string{n.path("kubelet.json"), n.path("kubelet.kubeconfig")},
		args: []string{
			"--config=" + n.path("kubelet.json"), "--kubeconfig=" + n.path("kubelet.kubeconfig"),
			"--root-dir=" + n.path("kubelet"), "--cert-dir=" + n.path("kubelet", "pki"),
			"--hostname-override=" + n.Name, "--node-ip=" + n.IP,
		},
		env: []string{"PATH=" + searchPath},
	}
}

func kubeProxy(l layout, n node, s settings) daemon {
	return daemon{
		name: n.Name + "-kube-proxy", program: s.bin["kube-proxy"], namespace: n.Name,
		reads: []string{n.path("kube-proxy.json"), l.path("kube-proxy.kubeconfig")},
		args:  []string{"--config=" + n.path("kube-proxy.json")},
		env:   []string{"PATH=" + searchPath},
	}
}

// searchPath holds iptables, conntrack, mount and the like on Debian.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
