// Command verify checks what no test of a package checks: form, generated
// files, known vulnerabilities, and what an install would send to a cluster.
//
//	go run ./hack/verify [CHECK...]
//
// Without a name it runs every check, however many fail, and ends with 1 when
// any did. It changes nothing in the checkout.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gitee.com/captainjez/gocart/hack/internal/tools"
)

type check struct {
	name    string
	summary string
	run     func(ctx context.Context, root string) error
}

var checks = []check{
	{"gofmt", "every Go file is formatted", formatted},
	{"generated", "generated files are what make generate writes", generatedIsFresh},
	{"equal", "the chart and config/ render the same objects", chartEqualsConfig},
	{"rights", "a namespaced install has no right outside its namespaces", namespacedRights},
	{"manifests", "everything rendered fits the API server's schemas (kubeconform)", manifestsConform},
	{"lint", "golangci-lint finds nothing", lint},
	{"vulnerabilities", "govulncheck finds nothing", vulnerabilities},
}

// errSkipped marks a check that could not be made here and says why.
var errSkipped = errors.New("skipped")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only []string) error {
	root, err := tools.Root()
	if err != nil {
		return err
	}
	for _, name := range only {
		if !slices.ContainsFunc(checks, func(c check) bool { return c.name == name }) {
			return fmt.Errorf("no check is named %q", name)
		}
	}
	var failed []string
	for _, c := range checks {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		start := time.Now()
		err := c.run(ctx, root)
		took := time.Since(start).Round(100 * time.Millisecond)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errSkipped):
			fmt.Printf("SKIP %-16s %6s  %v\n", c.name, took, err)
		case err != nil:
			fmt.Printf("FAIL %-16s %6s  not so: %s\n%s\n", c.name, took, c.summary, indent(err.Error()))
			failed = append(failed, c.name)
		default:
			fmt.Printf("ok   %-16s %6s  %s\n", c.name, took, c.summary)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// output runs a program in the checkout and returns what it wrote to standard
// output; its standard error becomes part of the error.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	return outputFrom(ctx, dir, nil, name, args...)
}

func outputFrom(ctx context.Context, dir string, stdin io.Reader, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stdout.String() + "\n" + stderr.String())
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, said)
	}
	return stdout.String(), nil
}

// ownFiles lists the checkout's files, committed or not, but what git ignores.
func ownFiles(ctx context.Context, root string, patterns ...string) ([]string, error) {
	out, err := output(ctx, root, "git", append([]string{"ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimRight(out, "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func indent(text string) string {
	return "     " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n     ")
}
