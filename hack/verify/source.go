package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gitee.com/captainjez/gocart/hack/internal/tools"
)

func formatted(ctx context.Context, root string) error {
	files, err := ownFiles(ctx, root, "*.go")
	if err != nil {
		return err
	}
	out, err := output(ctx, root, "gofmt", append([]string{"-l"}, files...)...)
	if err != nil {
		return err
	}
	if out != "" {
		return fmt.Errorf("run gofmt -w on:\n%s", out)
	}
	return nil
}

func lint(ctx context.Context, root string) error {
	golangci, err := tools.Path(ctx, "golangci-lint")
	if err != nil {
		return err
	}
	_, err = output(ctx, root, golangci, "run", "--timeout=30m", "--allow-parallel-runners", "./...")
	return err
}

// generatedIsFresh generates in a copy of the checkout and compares.
func generatedIsFresh(ctx context.Context, root string) error {
	files, err := ownFiles(ctx, root)
	if err != nil {
		return err
	}
	twin, err := os.MkdirTemp("", "gocart-generate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(twin)
	for _, name := range files {
		if err := copyFile(filepath.Join(root, name), filepath.Join(twin, name)); err != nil {
			return err
		}
	}
	given, err := sums(twin)
	if err != nil {
		return err
	}
	if _, err := output(ctx, twin, "go", "run", "./hack/generate"); err != nil {
		return err
	}
	generated, err := sums(twin)
	if err != nil {
		return err
	}
	var stale []string
	for name, sum := range given {
		if generated[name] != sum {
			stale = append(stale, name)
		}
	}
	for name := range generated {
		if _, ok := given[name]; !ok {
			stale = append(stale, name)
		}
	}
	if len(stale) > 0 {
		slices.Sort(stale)
		return fmt.Errorf("run make generate and commit:\n%s", strings.Join(stale, "\n"))
	}
	return nil
}

// sums is a checksum of every file under a folder, by name.
func sums(root string) (map[string][sha256.Size]byte, error) {
	found := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		found[name] = sha256.Sum256(data)
		return err
	})
	return found, err
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

const vulnerabilityDatabase = "https://vuln.go.dev"

// vulnerabilities asks the Go vulnerability database, or the copy of it that
// $GOVULNDB names (file:///... or https://...).
func vulnerabilities(ctx context.Context, root string) error {
	database := os.Getenv("GOVULNDB")
	if database == "" {
		database = vulnerabilityDatabase
		if err := reachable(ctx, database+"/index/db.json"); err != nil {
			return fmt.Errorf("%w: NOTHING WAS CHECKED, for %s can not be reached from here (%w); name a copy of the database in GOVULNDB, or run this where it can",
				errSkipped, database, err)
		}
	}
	govulncheck, err := tools.Path(ctx, "govulncheck")
	if err != nil {
		return err
	}
	_, err = output(ctx, root, govulncheck, "-db", database, "./...")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		return fmt.Errorf("the database %s knows of vulnerabilities in code that is called:\n%w", database, err)
	}
	return err
}

func reachable(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return errors.Unwrap(err) // without the URL, which the caller names
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}
