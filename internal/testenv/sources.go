package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// API is a set of CustomResourceDefinitions: files of a folder, in a module or
// in this repository.
type API struct {
	module string // module that holds folder; empty for this repository
	folder string
	prefix string // only files whose name starts so
}

// The optional APIs. KEDA, ServiceMonitor and CloudNativePG are stand-ins that take
// any spec and status: their modules at hand hold no definitions, and what is
// tested is what GoCart writes and reads.
var (
	CertManager    = API{module: "github.com/cert-manager/cert-manager", folder: "deploy/crds"}
	GatewayAPI     = API{module: "sigs.k8s.io/gateway-api", folder: "config/crd/standard", prefix: "gateway.networking.k8s.io_"}
	KEDA           = API{folder: "internal/testenv/crds", prefix: "keda.sh_"}
	ServiceMonitor = API{folder: "internal/testenv/crds", prefix: "monitoring.coreos.com_"}
	CloudNativePG  = API{folder: "internal/testenv/crds", prefix: "postgresql.cnpg.io_"}

	gocart = API{folder: "config/crd", prefix: "commerce.rcommerce.app_"}
)

// crdFiles lists the files of some APIs. A file that holds something else than
// a CustomResourceDefinition, as Gateway API's admission policy, is left out.
func crdFiles(root string, apis []API) ([]string, error) {
	var files []string
	for _, api := range apis {
		base := root
		if api.module != "" {
			out, err := run(root, "go", "list", "-m", "-f", "{{.Dir}}", api.module)
			if err != nil {
				return nil, err
			}
			base = strings.TrimSpace(out)
		}
		matches, err := filepath.Glob(filepath.Join(base, api.folder, api.prefix+"*.yaml"))
		if err != nil {
			return nil, err
		}
		found := len(files)
		for _, match := range matches {
			data, err := os.ReadFile(match)
			if err != nil {
				return nil, err
			}
			if bytes.Contains(data, []byte("\nkind: CustomResourceDefinition\n")) {
				files = append(files, match)
			}
		}
		if len(files) == found {
			return nil, fmt.Errorf("no CustomResourceDefinition in %s", filepath.Join(base, api.folder))
		}
	}
	return files, nil
}

// programs finds kube-apiserver and etcd.
func programs(root string) (apiServer, etcd string, err error) {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		return filepath.Join(assets, "kube-apiserver"), filepath.Join(assets, "etcd"), nil
	}
	out, err := run(root, "go", "run", "./hack/build", "tool", "kube-apiserver", "etcd")
	if err != nil {
		return "", "", err
	}
	paths := strings.Fields(out)
	if len(paths) != 2 {
		return "", "", fmt.Errorf("asked hack/build for two programs, it printed %q", out)
	}
	return paths[0], paths[1], nil
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	out, err := run(dir, "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	file := strings.TrimSpace(out)
	if file == "" || file == os.DevNull {
		return "", errors.New("tests run inside the module: no go.mod here or above")
	}
	return filepath.Dir(file), nil
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
