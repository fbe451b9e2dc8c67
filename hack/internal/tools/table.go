package tools

// Tool says how one program is made. A new tool is one line in the table and,
// when its requirements clash with the others', a module of its own under
// hack/tools.
type Tool struct {
	// Name is the program's file name and what people type.
	Name string
	// Module is the folder under hack/tools whose go.mod pins it.
	Module string
	// Package is the main package: an import path, or "./..." style relative
	// to Module for a main of our own.
	Package string
	// VersionOf is the module whose pinned version the program carries. Empty
	// means the module that holds Package.
	VersionOf string
	// CGO builds with the C compiler; everything else is static.
	CGO bool
	// Tags are build tags, separated by commas.
	Tags string
	// LDFlags are added to "-s -w". {version}, {major} and {minor} are replaced.
	LDFlags string
}

const (
	kubernetesVersion = "-X k8s.io/component-base/version.gitVersion={version}" +
		" -X k8s.io/component-base/version.gitMajor={major}" +
		" -X k8s.io/component-base/version.gitMinor={minor}" +
		" -X k8s.io/component-base/version.gitTreeState=clean"
	containerdVersion = "-X github.com/containerd/containerd/v2/version.Version={version}"
)

// table is every program that the project builds and does not ship.
var table = []Tool{
	{Name: "kube-apiserver", Module: "kubernetes", Package: "k8s.io/kubernetes/cmd/kube-apiserver", LDFlags: kubernetesVersion},
	{Name: "kube-controller-manager", Module: "kubernetes", Package: "k8s.io/kubernetes/cmd/kube-controller-manager", LDFlags: kubernetesVersion},
	{Name: "kube-scheduler", Module: "kubernetes", Package: "k8s.io/kubernetes/cmd/kube-scheduler", LDFlags: kubernetesVersion},
	{Name: "kubelet", Module: "kubernetes", Package: "k8s.io/kubernetes/cmd/kubelet", LDFlags: kubernetesVersion},
	{Name: "kube-proxy", Module: "kubernetes", Package: "k8s.io/kubernetes/cmd/kube-proxy", LDFlags: kubernetesVersion},
	{Name: "kubectl", Module: "kubernetes", Package: "k8s.io/kubernetes/cmd/kubectl", LDFlags: kubernetesVersion},

	{Name: "etcd", Module: "etcd", Package: "go.etcd.io/etcd/server/v3"},

	{Name: "containerd", Module: "containerd", Package: "github.com/containerd/containerd/v2/cmd/containerd", LDFlags: containerdVersion},
	{Name: "containerd-shim-runc-v2", Module: "containerd", Package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", LDFlags: containerdVersion},
	{Name: "ctr", Module: "containerd", Package: "github.com/containerd/containerd/v2/cmd/ctr", LDFlags: containerdVersion},

	{Name: "coredns", Module: "coredns", Package: ".", VersionOf: "github.com/coredns/coredns"},
	{Name: "metrics-server", Module: "metrics-server", Package: "sigs.k8s.io/metrics-server/cmd/metrics-server"},
	{Name: "storage-provisioner", Module: "storage-provisioner", Package: ".", VersionOf: "sigs.k8s.io/sig-storage-lib-external-provisioner/v13"},
	{Name: "pause", Module: "pause", Package: "."},

	{Name: "cert-manager", Module: "cert-manager", Package: "./controller", VersionOf: "github.com/cert-manager/cert-manager"},
	{Name: "acmesolver", Module: "cert-manager", Package: "./acmesolver", VersionOf: "github.com/cert-manager/cert-manager"},
	{Name: "pebble", Module: "pebble", Package: "github.com/letsencrypt/pebble/v2/cmd/pebble", LDFlags: "-X main.version={version}"},
	{Name: "haproxy-ingress", Module: "haproxy-ingress", Package: ".", VersionOf: "github.com/jcmoraisjr/haproxy-ingress", LDFlags: "-X github.com/jcmoraisjr/haproxy-ingress/pkg/version.RELEASE={version}"},

	{Name: "helm", Module: "helm", Package: "helm.sh/helm/v4/cmd/helm", LDFlags: "-X helm.sh/helm/v4/internal/version.version={version}"},
	{Name: "kustomize", Module: "manifests", Package: "sigs.k8s.io/kustomize/kustomize/v5"},
	{Name: "kubeconform", Module: "manifests", Package: "github.com/yannh/kubeconform/cmd/kubeconform"},
	{Name: "crane", Module: "manifests", Package: "github.com/google/go-containerregistry/cmd/crane"},

	{Name: "controller-gen", Module: "gen", Package: "sigs.k8s.io/controller-tools/cmd/controller-gen"},
	{Name: "oapi-codegen", Module: "oapi-codegen", Package: "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen"},
	{Name: "sqlc", Module: "sqlc", Package: "github.com/sqlc-dev/sqlc/cmd/sqlc", CGO: true},

	{Name: "golangci-lint", Module: "lint", Package: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint", LDFlags: "-X main.version={version}"},
	{Name: "govulncheck", Module: "govulncheck", Package: "golang.org/x/vuln/cmd/govulncheck"},
	{Name: "gotestsum", Module: "gotestsum", Package: "gotest.tools/gotestsum"},

	// Stands in for Stripe where tests ask it: it knows the shapes of requests and answers, and remembers nothing.
	{Name: "stripe-mock", Module: "stripe-mock", Package: "github.com/stripe/stripe-mock", LDFlags: "-X main.version={version}"},
}

// All returns the table.
func All() []Tool { return append([]Tool(nil), table...) }

// Named finds a tool in the table.
func Named(name string) (Tool, bool) {
	for _, t := range table {
		if t.Name == name {
			return t, true
		}
	}
	return Tool{}, false
}
