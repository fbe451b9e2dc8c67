// Package tools builds the programs that the project uses but does not ship
// (a Kubernetes control plane, generators, linters) from modules pinned under
// hack/tools, and keeps them in a cache keyed by everything that goes into
// them. It uses the standard library only and may be imported by anything
// under hack and test; product code never imports it.
//
// The cache is $GOCART_CACHE, else $XDG_CACHE_HOME/gocart, else
// ~/.cache/gocart. It is shared by all clones and safe for several builds at
// once: a file lock per program, and an atomic rename at the end.
package tools

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

const mainModule = "gitee.com/captainjez/gocart"

// Path returns the absolute path of the named program, building it first when
// the cache does not hold it. Progress goes to standard error.
func Path(ctx context.Context, name string) (string, error) {
	tool, ok := Named(name)
	if !ok {
		return "", fmt.Errorf("no tool is named %q; hack/internal/tools/table.go lists them", name)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	path, err := builder{root: root, cache: cache, progress: os.Stderr}.path(ctx, tool)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return path, nil
}

// Paths is Path for several programs, one after the other, by name.
func Paths(ctx context.Context, names ...string) (map[string]string, error) {
	paths := make(map[string]string, len(names))
	for _, name := range names {
		path, err := Path(ctx, name)
		if err != nil {
			return nil, err
		}
		paths[name] = path
	}
	return paths, nil
}

// Root finds the checkout that holds the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && declaresModule(data, mainModule) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside a GoCart checkout: no go.mod of " + mainModule + " here or above")
		}
		dir = parent
	}
}

// CacheDir is where built programs and images are kept between runs.
func CacheDir() (string, error) {
	if dir := os.Getenv("GOCART_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "gocart"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache folder (set GOCART_CACHE): %w", err)
	}
	return filepath.Join(home, ".cache", "gocart"), nil
}

type builder struct {
	root     string
	cache    string
	progress io.Writer
}

func (b builder) path(ctx context.Context, t Tool) (string, error) {
	dir := filepath.Join(b.root, "hack", "tools", t.Module)
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", err
	}
	version := pinnedVersion(goMod, t)
	flags := buildFlags(t, version)
	sum, err := fingerprint(ctx, dir, t, flags)
	if err != nil {
		return "", err
	}
	home := filepath.Join(b.cache, "bin", fmt.Sprintf("%s@%s-%s", t.Name, version, sum))
	target := filepath.Join(home, t.Name)
	if isProgram(target) {
		return target, nil
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(home, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if isProgram(target) { // someone else built it while we waited
		return target, nil
	}
	return target, b.build(ctx, t, dir, version, flags, target)
}

func (b builder) build(ctx context.Context, t Tool, dir, version string, flags []string, target string) error {
	start := time.Now()
	fmt.Fprintf(b.progress, "building %s %s ...\n", t.Name, version)
	partial := target + ".partial"
	args := append([]string{"build"}, flags...)
	args = append(args, "-o", partial, t.Package)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = environment(t)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build in hack/tools/%s: %w\n%s", t.Module, err, tail(out.String(), 30))
	}
	if err := os.Rename(partial, target); err != nil {
		return err
	}
	fmt.Fprintf(b.progress, "building %s %s ... %.0fs\n", t.Name, version, time.Since(start).Seconds())
	return nil
}

func buildFlags(t Tool, version string) []string {
	number := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	for len(number) < 2 {
		number = append(number, "0")
	}
	ld := strings.NewReplacer("{version}", version, "{major}", number[0], "{minor}", number[1]).Replace(t.LDFlags)
	flags := []string{"-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", strings.TrimSpace("-s -w " + ld)}
	if t.Tags != "" {
		flags = append(flags, "-tags", t.Tags)
	}
	return flags
}

func environment(t Tool) []string {
	cgo := "CGO_ENABLED=0"
	if t.CGO {
		cgo = "CGO_ENABLED=1"
	}
	// Tools run on this machine, whatever the caller is building for.
	return append(os.Environ(), cgo, "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
}

// fingerprint covers everything that decides what the program is: pins, the
// compiler, flags, and the sources when the main package is ours.
func fingerprint(ctx context.Context, dir string, t Tool, flags []string) (string, error) {
	goVersion, err := compiler(ctx)
	if err != nil {
		return "", err
	}
	files := []string{"go.mod", "go.sum"}
	if strings.HasPrefix(t.Package, ".") {
		sources, err := ownSources(dir)
		if err != nil {
			return "", err
		}
		files = append(files, sources...)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s/%s\n%q\n%t\n", goVersion, t.Package, runtime.GOARCH, flags, t.CGO)
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && name == "go.sum" {
			continue // a module without requirements has none
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", name, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// ownSources lists every file of a module of ours but tests: embedded files
// count as much as Go.
func ownSources(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && name != "go.mod" && name != "go.sum" {
			files = append(files, name)
		}
		return err
	})
	sort.Strings(files)
	return files, err
}

var compilerVersion struct {
	sync.Mutex
	value string
}

func compiler(ctx context.Context) (string, error) {
	compilerVersion.Lock()
	defer compilerVersion.Unlock()
	if compilerVersion.value == "" {
		out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
		if err != nil {
			return "", fmt.Errorf("asking go for its version: %w", err)
		}
		compilerVersion.value = strings.TrimSpace(string(out))
	}
	return compilerVersion.value, nil
}

// pinnedVersion reads the version of the module that holds the tool's package
// (the longest required path that is a prefix of it) out of a go.mod.
func pinnedVersion(goMod []byte, t Tool) string {
	want := t.VersionOf
	if want == "" {
		want = t.Package
	}
	module, version := "", "dev"
	for line := range strings.Lines(string(goMod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") || strings.Contains(line, "=>") {
			continue
		}
		path := fields[0]
		if (want == path || strings.HasPrefix(want, path+"/")) && len(path) > len(module) {
			module, version = path, fields[1]
		}
	}
	return version
}

func declaresModule(goMod []byte, module string) bool {
	for line := range strings.Lines(string(goMod)) {
		if strings.TrimSpace(line) == "module "+module {
			return true
		}
	}
	return false
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// lock waits for an exclusive lock that ends with the process.
func lock(path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
