package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// deb is one package file of the archive that apt is set up with.
type deb struct {
	name    string
	version string
	file    string
	sum     string // SHA256
}

// libraryPackage matches the dependencies that are followed: libraries. What
// else a package depends on is for installing it.
var libraryPackage = regexp.MustCompile(`^(lib|zlib1g$|bind9-libs$|lua-)`)

// skippedPackage is a library that no image takes files from.
var skippedPackage = regexp.MustCompile(`^(libllvm|libperl|libpam-(runtime|modules))`)

// resolve names the package files for packages and the libraries they need, as
// the package lists on this machine have them. It does not touch the network,
// but reads the lists anew once when they lack a package. The answer is kept
// in the cache until the lists change.
func resolve(ctx context.Context, packages []string, cache string) ([]deb, error) {
	kept := filepath.Join(cache, "resolved-"+listsKey(packages)+".txt")
	if out, err := os.ReadFile(kept); err == nil {
		return parseURIs(string(out))
	}
	out, err := resolveOnce(ctx, packages)
	if err != nil {
		if _, err := output(ctx, "", "apt-get", "-qq", "update"); err != nil {
			return nil, err
		}
		if out, err = resolveOnce(ctx, packages); err != nil {
			return nil, err
		}
		kept = filepath.Join(cache, "resolved-"+listsKey(packages)+".txt")
	}
	debs, err := parseURIs(out)
	if err != nil {
		return nil, err
	}
	return debs, writeFile(kept, []byte(out), 0o644)
}

// listsKey changes with the packages asked for and with apt's lists.
func listsKey(packages []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %v %v\n", packages, libraryPackage, skippedPackage)
	lists, err := os.ReadDir("/var/lib/apt/lists")
	if err != nil {
		return "none"
	}
	for _, list := range lists {
		if info, err := list.Info(); err == nil && !info.IsDir() && list.Name() != "lock" {
			fmt.Fprintln(h, info.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func resolveOnce(ctx context.Context, packages []string) (string, error) {
	names, err := withLibraries(ctx, packages)
	if err != nil {
		return "", err
	}
	return output(ctx, "", "apt-get", append([]string{"download", "--print-uris"}, names...)...)
}

func withLibraries(ctx context.Context, packages []string) ([]string, error) {
	args := []string{"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}
	out, err := output(ctx, "", "apt-cache", append(args, packages...)...)
	if err != nil {
		return nil, err
	}
	return librariesOf(packages, parseDepends(out)), nil
}

// parseDepends reads the output of "apt-cache depends --recurse": a package at
// the margin, its dependencies indented below it.
func parseDepends(out string) map[string][]string {
	depends := map[string][]string{}
	name := ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if line != "" && !strings.HasPrefix(line, " ") {
			name, _, _ = strings.Cut(line, ":")
			continue
		}
		line = strings.TrimLeft(line, " |")
		if kind, on, ok := strings.Cut(line, ": "); ok && (kind == "Depends" || kind == "PreDepends") {
			on, _, _ = strings.Cut(on, ":")
			depends[name] = append(depends[name], on)
		}
	}
	return depends
}

func librariesOf(packages []string, depends map[string][]string) []string {
	seen := map[string]bool{}
	todo := slices.Clone(packages)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, on := range depends[name] {
			if libraryPackage.MatchString(on) && !skippedPackage.MatchString(on) {
				todo = append(todo, on)
			}
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// parseURIs reads the output of "apt-get download --print-uris":
// 'URI' NAME_VERSION_ARCH.deb SIZE SHA256:SUM.
func parseURIs(out string) ([]deb, error) {
	var debs []deb
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "'") {
			continue
		}
		parts := strings.Split(fields[1], "_")
		if len(parts) != 3 {
			return nil, fmt.Errorf("apt names a package file %q", fields[1])
		}
		version, err := url.PathUnescape(parts[1])
		if err != nil {
			return nil, err
		}
		d := deb{name: parts[0], version: version, file: fields[1]}
		if len(fields) > 3 {
			d.sum = strings.TrimPrefix(fields[3], "SHA256:")
		}
		debs = append(debs, d)
	}
	slices.SortFunc(debs, func(a, b deb) int { return strings.Compare(a.file, b.file) })
	if len(debs) == 0 {
		return nil, errors.New("apt has no such packages in its lists")
	}
	return debs, nil
}

// unpack puts the packages' files into one folder, downloading what the cache
// lacks.
func unpack(ctx context.Context, debs []deb, cache, into string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	var lacking []string
	for _, d := range debs {
		if !intact(filepath.Join(cache, d.file), d.sum) {
			lacking = append(lacking, d.name+"="+d.version)
		}
	}
	if len(lacking) > 0 {
		// As root, apt would drop to a user who may not write here.
		args := append([]string{"download", "-qq", "-o", "APT::Sandbox::User=root"}, lacking...)
		if _, err := output(ctx, cache, "apt-get", args...); err != nil {
			return err
		}
	}
	for _, d := range debs {
		file := filepath.Join(cache, d.file)
		if !intact(file, d.sum) {
			return fmt.Errorf("%s is not what apt's lists say it is: remove it and try again", file)
		}
		if _, err := output(ctx, "", "dpkg-deb", "--extract", file, into); err != nil {
			return err
		}
	}
	return nil
}

func intact(file, sum string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	got := sha256.Sum256(data)
	return sum == "" || hex.EncodeToString(got[:]) == sum
}

// tree is a folder of unpacked packages, read as if it were "/".
type tree string

// real follows symbolic links inside the tree and returns the path of what is
// there, relative to it.
func (t tree) real(name string) (string, error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for range 16 {
		elements := strings.Split(name, "/")
		followed := false
		for i := range elements {
			prefix := path.Join(elements[:i+1]...)
			info, err := os.Lstat(filepath.Join(string(t), prefix))
			if err != nil {
				return "", err
			}
			if info.Mode()&fs.ModeSymlink == 0 {
				continue
			}
			target, err := os.Readlink(filepath.Join(string(t), prefix))
			if err != nil {
				return "", err
			}
			if !path.IsAbs(target) {
				target = path.Join("/", path.Dir(prefix), target)
			}
			name = strings.TrimPrefix(path.Join(append([]string{target}, elements[i+1:]...)...), "/")
			followed = true
			break
		}
		if !followed {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s: too many symbolic links", name)
}

// triplet is the folder name of the architecture's libraries, such as
// x86_64-linux-gnu.
func (t tree) triplet() (string, error) {
	found, err := filepath.Glob(filepath.Join(string(t), "lib/*-linux-gnu*/libc.so.6"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", errors.New("no C library among the packages")
	}
	return filepath.Base(filepath.Dir(found[0])), nil
}

// take copies the files into the image's root with the libraries they need.
func (t tree) take(d *Debian, root string) error {
	triplet, err := t.triplet()
	if err != nil {
		return err
	}
	c := copier{from: t, to: root, skip: d.Skip, directories: []string{
		"lib/" + triplet, "usr/lib/" + triplet, "lib", "usr/lib",
	}, done: map[string]bool{}}
	for _, file := range d.Files {
		file = strings.ReplaceAll(file, "$TRIPLET", triplet)
		from, to, renamed := strings.Cut(file, " -> ")
		if !renamed {
			to = from
		}
		if err := c.copy(from, to); err != nil {
			return fmt.Errorf("taking %s: %w", from, err)
		}
	}
	return nil
}

type copier struct {
	from        tree
	to          string
	skip        *regexp.Regexp
	directories []string // where the dynamic loader looks
	done        map[string]bool
}

func (c *copier) copy(from, to string) error {
	at, err := c.from.real(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(string(c.from), at))
	if err != nil {
		return err
	}
	if c.skip != nil && c.skip.MatchString("/"+to) {
		return nil
	}
	if !info.IsDir() {
		return c.file(at, to, info.Mode())
	}
	entries, err := os.ReadDir(filepath.Join(string(c.from), at))
	if err != nil {
		return err
	}
	if c.skip != nil && c.skip.MatchString("/"+to+"/") {
		return nil
	}
	for _, entry := range entries {
		err := c.copy(path.Join(at, entry.Name()), path.Join(to, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink != 0 {
			continue // into a package that the image does without
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) file(from, to string, mode fs.FileMode) error {
	if c.done[to] {
		return nil
	}
	c.done[to] = true
	data, err := os.ReadFile(filepath.Join(string(c.from), from))
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(c.to, to), data, mode); err != nil {
		return err
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil
	}
	return c.libraries(from, data)
}

func (c *copier) libraries(from string, data []byte) error {
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return err
	}
	needed, err := file.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP {
			name := strings.TrimRight(string(data[program.Off:program.Off+program.Filesz]), "\x00")
			if err := c.copy(name, strings.TrimPrefix(name, "/")); err != nil {
				return fmt.Errorf("the loader of %s: %w", from, err)
			}
		}
	}
	own, err := ownDirectories(file, from)
	if err != nil {
		return err
	}
	for _, library := range needed {
		if err := c.library(library, own); err != nil {
			return fmt.Errorf("a library of %s: %w", from, err)
		}
	}
	return nil
}

// ownDirectories are those that the file itself tells the loader to search.
func ownDirectories(file *elf.File, name string) ([]string, error) {
	var directories []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := file.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, list := range paths {
			for _, directory := range strings.Split(list, ":") {
				directory = strings.ReplaceAll(directory, "$ORIGIN", path.Dir("/"+name))
				directories = append(directories, strings.TrimPrefix(path.Clean(directory), "/"))
			}
		}
	}
	return directories, nil
}

func (c *copier) library(name string, own []string) error {
	for _, directory := range append(own, c.directories...) {
		at := path.Join(directory, name)
		if _, err := c.from.real(at); err == nil {
			return c.copy(at, at)
		}
	}
	return fmt.Errorf("%s is in none of the packages", name)
}

func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, strings.TrimSpace(said.String()+out.String()))
	}
	return out.String(), nil
}

// writeFile writes with the permissions that a package would give: 0755 for
// what anyone may run, 0644 for the rest.
func writeFile(name string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	permissions := fs.FileMode(0o644)
	if mode&0o111 != 0 {
		permissions = 0o755
	}
	return os.WriteFile(name, data, permissions)
}
