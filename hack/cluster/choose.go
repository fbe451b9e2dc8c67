package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// spec is what the state folder remembers of the cluster that was made.
type spec struct {
	Backend string `json:"backend"`
	Nodes   int    `json:"nodes"`
	Boot    string `json:"boot,omitempty"` // the machine's boot that its processes belong to
}

const specFile = "cluster.json"

// choose picks the backend that CLUSTER names, the one that made the cluster
// which is there, or the first that this machine can do.
func choose(ctx context.Context) (backend, error) {
	state, err := stateDir()
	if err != nil {
		return nil, err
	}
	backends := map[string]backend{
		"native":  native{state: state},
		"kind":    kind{state: state},
		"current": current{},
	}
	wanted := os.Getenv("CLUSTER")
	if wanted == "" || wanted == "auto" {
		var made spec
		if err := readJSON(layout{State: state}.path(specFile), &made); err == nil {
			wanted = made.Backend
		} else if wanted, err = firstPossible(ctx); err != nil {
			return nil, err
		}
	}
	b, found := backends[wanted]
	if !found {
		return nil, fmt.Errorf("CLUSTER is %q; it can be native, kind, current or auto", wanted)
	}
	if wanted == "native" {
		if err := nativePossible(); err != nil {
			return nil, fmt.Errorf("CLUSTER=native cannot be had: %w", err)
		}
	}
	return b, nil
}

func firstPossible(ctx context.Context) (string, error) {
	nativeErr := nativePossible()
	if nativeErr == nil {
		return "native", nil
	}
	kindErr := kindPossible(ctx)
	if kindErr == nil {
		return "kind", nil
	}
	if os.Getenv("KUBECONFIG") != "" {
		return "current", nil
	}
	return "", fmt.Errorf("no cluster can be had here: a native one fails because %w, kind because %w, and KUBECONFIG names none to use", nativeErr, kindErr)
}

func nativePossible() error {
	switch {
	case runtime.GOOS != "linux":
		return fmt.Errorf("it needs Linux and this is %s", runtime.GOOS)
	case os.Geteuid() != 0:
		return errors.New("it needs root (sudo)")
	case !hasCapability(capNetAdmin) || !hasCapability(capSysAdmin):
		return errors.New("root lacks CAP_NET_ADMIN or CAP_SYS_ADMIN here, as in an unprivileged container")
	}
	_, err := cgroupRoots()
	return err
}

func kindPossible(ctx context.Context) error {
	for _, program := range []string{"kind", "docker"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed", program)
		}
	}
	if exec.CommandContext(ctx, "docker", "info").Run() != nil {
		return errors.New("docker does not answer")
	}
	return nil
}
