// Command generate writes every file of the repository that a tool writes:
//
//	go run ./hack/generate [STEP...]
//
// Steps, in order: kubernetes (deep copies, CustomResourceDefinitions, RBAC),
// runtime (SQL and HTTP code), chart (what the Helm chart shares with config),
// reference (docs/reference of the kinds), config (docs/reference of the
// runtime's configuration). Without one, all of them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"gitee.com/captainjez/gocart/hack/internal/tools"
)

type step struct {
	name string
	run  func(ctx context.Context, root string) error
}

var steps = []step{
	{"kubernetes", kubernetes},
	{"runtime", runtimeCode},
	{"chart", chartCopies},
	{"reference", references},
	{"config", runtimeReference},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only []string) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	for _, name := range only {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.name == name }) {
			return fmt.Errorf("no step is named %q", name)
		}
	}
	for _, s := range steps {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		if err := s.run(ctx, root); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func kubernetes(ctx context.Context, root string) error {
	controllerGen, err := tools.Path(ctx, "controller-gen")
	if err != nil {
		return err
	}
	if err := command(ctx, root, controllerGen, "object", "crd", "paths=./api/...", "output:crd:dir=config/crd"); err != nil {
		return err
	}
	if err := command(ctx, root, controllerGen, "object", "paths=./controllers/internal/keda"); err != nil {
		return err
	}
	return command(ctx, root, controllerGen, "rbac:roleName=gocart-operator", "paths=./controllers/...", "output:rbac:dir=config/rbac")
}

func runtimeCode(ctx context.Context, root string) error {
	return command(ctx, root, "go", "generate", "./runtime/...")
}

// chartCopies puts into the chart what it may not read from outside its folder.
func chartCopies(_ context.Context, root string) error {
	target := filepath.Join(root, "charts", "gocart-operator", "files")
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if err := copyFiles(filepath.Join(root, "config", "crd", "commerce.rcommerce.app_*.yaml"), filepath.Join(target, "crds")); err != nil {
		return err
	}
	return copyFiles(filepath.Join(root, "config", "rbac", "*role.yaml"), target)
}

func copyFiles(pattern, target string) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no file matches %s", pattern)
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(target, filepath.Base(file)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	return nil
}
