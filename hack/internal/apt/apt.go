// Package apt installs the Debian packages that the project's own tooling
// needs, and only when the programs they bring are missing. It owns nothing
// else: no versions, no configuration. Product code never imports it.
package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Need is a program, or a file by its absolute path, and the Debian package
// that brings it.
type Need struct {
	Program string
	Package string
}

// Ensure installs what is missing of needs. On a machine where it cannot, the
// error is one sentence that names the packages.
func Ensure(ctx context.Context, needs ...Need) error {
	packages := missing(needs)
	if len(packages) == 0 {
		return nil
	}
	list := strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine is not Debian: install the equivalent of these packages and try again: %s", list)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages are missing and only root may install them: sudo apt-get install %s", list)
	}
	fmt.Fprintf(os.Stderr, "installing Debian packages: %s ...\n", list)
	if err := install(ctx, packages); err != nil {
		// Lists may be absent or old; read them once and try again.
		if err := aptGet(ctx, "update", "-qq"); err != nil {
			return err
		}
		if err := install(ctx, packages); err != nil {
			return err
		}
	}
	if still := missing(needs); len(still) > 0 {
		return fmt.Errorf("installed, but their programs are still missing: %s", strings.Join(still, " "))
	}
	return nil
}

// Find returns the path of a program, looking in the sbin folders too, which
// are not on every user's PATH.
func Find(program string) (string, error) {
	if filepath.IsAbs(program) {
		if _, err := os.Stat(program); err != nil {
			return "", err
		}
		return program, nil
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", errors.New(program + " is not installed")
}

func missing(needs []Need) []string {
	var packages []string
	seen := map[string]bool{}
	for _, need := range needs {
		if _, err := Find(need.Program); err != nil && !seen[need.Package] {
			seen[need.Package] = true
			packages = append(packages, need.Package)
		}
	}
	return packages
}

func install(ctx context.Context, packages []string) error {
	return aptGet(ctx, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)...)
}

func aptGet(ctx context.Context, args ...string) error {
	args = append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
