package images

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitee.com/captainjez/gocart/hack/internal/apt"
	"gitee.com/captainjez/gocart/hack/internal/ociarchive"
	"gitee.com/captainjez/gocart/hack/internal/tools"
)

// recipe is counted among the inputs; raise it when this package puts the same
// inputs together differently.
const recipe = 1

// Builder builds images of the checkout at Root.
type Builder struct {
	Root     string
	Cache    string    // for downloaded packages
	Out      string    // for archives: NAME.tar, or NAME_TAG.tar for another tag than the default
	Progress io.Writer // one line for what takes time
	Force    bool      // build though the inputs are those of the archive
}

// Built is one image as it was written.
type Built struct {
	Name    string
	Archive string
	// References are full names; the first is the one to use. The last is by
	// content, "NAME:sha-...": a workload that names it is rolled exactly when
	// the image changes.
	References []string
	Digest     string // of the manifest
	Inputs     string
	Fresh      bool `json:"-"` // built just now
}

// ByContent is the reference that changes with the content.
func (b Built) ByContent() string { return b.References[len(b.References)-1] }

// NewBuilder builds into dist/images of the checkout that holds the working
// directory.
func NewBuilder(progress io.Writer) (*Builder, error) {
	root, err := tools.Root()
	if err != nil {
		return nil, err
	}
	cache, err := tools.CacheDir()
	if err != nil {
		return nil, err
	}
	return &Builder{Root: root, Cache: cache, Out: filepath.Join(root, "dist", "images"), Progress: progress}, nil
}

// plan is everything that decides what an image is.
type plan struct {
	image    Image
	tag      string // what ours is tagged
	tags     []string
	version  string
	revision string
	created  int64
	programs map[string]string // target -> file
	modules  map[string]string // target -> folder
	debs     []deb
	inputs   string
}

// Build makes the image, or returns the archive there is when its inputs are
// the same. The tag is for images of ours only; "" is the default.
func (b *Builder) Build(ctx context.Context, name, tag string) (Built, error) {
	image, err := Named(name)
	if err != nil {
		return Built{}, err
	}
	if tag != "" && !image.Ours() {
		return Built{}, fmt.Errorf("%s is tagged by its version, not by --tag", name)
	}
	built, err := b.build(ctx, image, cmp.Or(tag, DefaultTag))
	if err != nil {
		return Built{}, fmt.Errorf("building the image %s: %w", name, err)
	}
	return built, nil
}

func (b *Builder) build(ctx context.Context, image Image, tag string) (Built, error) {
	if err := os.MkdirAll(b.Out, 0o755); err != nil {
		return Built{}, err
	}
	p, err := b.plan(ctx, image, tag)
	if err != nil {
		return Built{}, err
	}
	file := image.Name
	if image.Ours() && tag != DefaultTag {
		file += "_" + tag
	}
	archive := filepath.Join(b.Out, file+".tar")
	if last, err := readStamp(archive); err == nil && last.Inputs == p.inputs && !b.Force {
		return last, nil
	}
	start := time.Now()
	built, err := b.assemble(ctx, p, archive)
	if err != nil {
		return Built{}, err
	}
	fmt.Fprintf(b.Progress, "building image %s ... %.1fs\n", built.References[0], time.Since(start).Seconds())
	return built, writeStamp(built)
}

func (b *Builder) plan(ctx context.Context, image Image, tag string) (plan, error) {
	p := plan{image: image, tag: tag, tags: slices.Clone(image.Tags), programs: map[string]string{}, modules: map[string]string{}}
	if image.Ours() {
		p.tags, p.version = []string{tag}, tag
	}
	sources := []string{"hack/images/" + image.Name}
	for _, program := range image.Programs {
		file, from, err := b.program(ctx, p, program)
		if err != nil {
			return plan{}, err
		}
		p.programs[program.Target] = file
		sources = append(sources, from...)
		if program.Tool == image.VersionOf && program.Tool != "" {
			p.version = toolVersion(file)
		}
	}
	for _, files := range image.Modules {
		out, err := output(ctx, filepath.Join(b.Root, "hack/tools", files.In), "go", "list", "-m", "-f", "{{.Dir}}", files.Module)
		if err != nil {
			return plan{}, err
		}
		p.modules[files.Target] = filepath.Join(strings.TrimSpace(out), files.From)
	}
	if image.Debian != nil {
		var err error
		if p.debs, err = resolve(ctx, image.Debian.Packages, filepath.Join(b.Cache, "debs")); err != nil {
			return plan{}, err
		}
		for _, d := range p.debs {
			if d.name == image.VersionOf {
				p.version = d.version
			}
		}
	}
	if p.version == "" {
		return plan{}, fmt.Errorf("nothing in the image has the version of %s", image.VersionOf)
	}
	if !image.Ours() {
		p.tags = append(p.tags, tagOf(p.version))
	}
	var err error
	if p.revision, p.created, err = revision(ctx, b.Root, sources); err != nil {
		return plan{}, err
	}
	p.inputs, err = b.fingerprint(p)
	return p, err
}

// toolVersion reads the version out of the cache's NAME@VERSION-FINGERPRINT.
func toolVersion(file string) string {
	_, version, _ := strings.Cut(filepath.Base(filepath.Dir(file)), "@")
	if i := strings.LastIndex(version, "-"); i > 0 {
		version = version[:i]
	}
	return version
}

// program builds one program and names the folders its sources are in.
func (b *Builder) program(ctx context.Context, p plan, program Program) (file string, sources []string, err error) {
	if program.Tool != "" {
		tool, ok := tools.Named(program.Tool)
		if !ok {
			return "", nil, fmt.Errorf("no tool is named %q", program.Tool)
		}
		file, err = tools.Path(ctx, program.Tool)
		return file, []string{"hack/tools/" + tool.Module}, err
	}
	file = filepath.Join(b.Out, "bin", p.image.Name+"_"+p.tag, filepath.Base(program.Target))
	flags := "-s -w -buildid="
	if p.image.Ours() {
		flags += " -X " + versionPackage + ".Version=" + p.tag
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", file, program.Package)
	cmd.Dir = b.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("go build %s: %w\n%s", program.Package, err, strings.TrimSpace(string(out)))
	}
	sources, err = b.sources(ctx, program.Package)
	return file, sources, err
}

// sources are the folders of this module that a package is built from, and the
// module's pins when it uses other modules too.
func (b *Builder) sources(ctx context.Context, pkg string) ([]string, error) {
	out, err := output(ctx, b.Root, "go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{else}}other{{end}}{{end}}", pkg)
	if err != nil {
		return nil, err
	}
	var sources []string
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(strings.Fields(out)))) {
		if dir == "other" {
			sources = append(sources, "go.mod", "go.sum")
			continue
		}
		rel, err := filepath.Rel(b.Root, dir)
		if err != nil {
			return nil, err
		}
		sources = append(sources, rel)
	}
	return sources, nil
}

// revision is the last commit that changed the sources, with "-dirty" when
// they have changed since, and its time: an image does not change with a
// commit that it is not made of.
func revision(ctx context.Context, root string, sources []string) (string, int64, error) {
	args := append([]string{"log", "-1", "--format=%H %ct", "--"}, sources...)
	out, err := output(ctx, root, "git", args...)
	if err != nil {
		return "unknown", 0, nil // sources without their history
	}
	commit, seconds, ok := strings.Cut(strings.TrimSpace(out), " ")
	if !ok {
		return "unknown", 0, nil // not committed yet
	}
	created, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return "", 0, err
	}
	changed, err := output(ctx, root, "git", append([]string{"status", "--porcelain", "--"}, sources...)...)
	if err != nil {
		return "", 0, err
	}
	if strings.TrimSpace(changed) != "" {
		commit += "-dirty"
	}
	return commit, created, nil
}

func (b *Builder) fingerprint(p plan) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "recipe %d\n%q %q %q %d\n%q %q\n", recipe, p.version, p.tags, p.revision, p.created, p.image.Passwd, p.image.Folders)
	dockerfile, err := os.ReadFile(b.dockerfile(p.image))
	if err != nil {
		return "", err
	}
	h.Write(dockerfile)
	for _, target := range sortedKeys(p.programs) {
		data, err := os.ReadFile(p.programs[target])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %x\n", target, sha256.Sum256(data))
	}
	for _, target := range sortedKeys(p.modules) {
		// A module's folder in the cache has its version in its name.
		fmt.Fprintf(h, "%s %s\n", target, filepath.Base(strings.TrimSuffix(p.modules[target], "/etc")))
	}
	for _, m := range p.image.Modules {
		mod, err := os.ReadFile(filepath.Join(b.Root, "hack/tools", m.In, "go.mod"))
		if err != nil {
			return "", err
		}
		h.Write(mod)
	}
	if d := p.image.Debian; d != nil {
		fmt.Fprintf(h, "%q %v\n", d.Files, d.Skip)
		for _, deb := range p.debs {
			fmt.Fprintf(h, "%s %s\n", deb.file, deb.sum)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (b *Builder) dockerfile(image Image) string {
	return filepath.Join(b.Root, "hack/images", image.Name, "Dockerfile")
}

// assemble fills a build context, builds it, and writes the archive.
func (b *Builder) assemble(ctx context.Context, p plan, archive string) (Built, error) {
	work, err := os.MkdirTemp(b.Out, ".build-")
	if err != nil {
		return Built{}, err
	}
	defer os.RemoveAll(work)
	buildContext := filepath.Join(work, "context")
	if err := b.fill(ctx, p, buildContext, filepath.Join(work, "packages")); err != nil {
		return Built{}, err
	}
	engine, err := findEngine(ctx)
	if err != nil {
		return Built{}, err
	}
	layout := filepath.Join(work, "layout")
	if err := engine(ctx, buildRequest{
		dockerfile: b.dockerfile(p.image),
		context:    buildContext,
		work:       work,
		layout:     layout,
		created:    p.created,
		arguments: map[string]string{
			"VERSION":  p.version,
			"REVISION": p.revision,
			"CREATED":  time.Unix(p.created, 0).UTC().Format(time.RFC3339),
		},
	}); err != nil {
		return Built{}, err
	}
	digest, err := pack(layout, archive, p.image.Name, p.tags)
	if err != nil {
		return Built{}, err
	}
	return Built{
		Name: p.image.Name, Archive: archive, Digest: digest, Inputs: p.inputs, Fresh: true,
		References: references(p.image.Name, p.tags, digest),
	}, nil
}

func references(name string, tags []string, digest string) []string {
	var full []string
	for _, tag := range append(slices.Clone(tags), "sha-"+strings.TrimPrefix(digest, "sha256:")[:12]) {
		full = append(full, ociarchive.FullName(name+":"+tag))
	}
	return full
}

// fill makes the build context: rootfs, and an empty folder that a Dockerfile
// copies to where the image's user may write.
func (b *Builder) fill(ctx context.Context, p plan, buildContext, packages string) error {
	root := filepath.Join(buildContext, "rootfs")
	folders := []string{root, filepath.Join(buildContext, "empty")}
	for _, folder := range p.image.Folders {
		folders = append(folders, filepath.Join(root, folder))
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if len(p.debs) > 0 {
		if err := unpack(ctx, p.debs, filepath.Join(b.Cache, "debs"), packages); err != nil {
			return err
		}
		if err := tree(packages).take(p.image.Debian, root); err != nil {
			return err
		}
	}
	for target, dir := range p.modules {
		if err := copyFolder(dir, filepath.Join(root, target)); err != nil {
			return err
		}
	}
	for target, file := range p.programs {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(root, target), data, 0o755); err != nil {
			return err
		}
	}
	if p.image.Passwd == "" {
		return nil
	}
	name, rest, _ := strings.Cut(p.image.Passwd, ":")
	gid := strings.Split(rest, ":")[2]
	if err := writeFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/:/nonexistent\n"+p.image.Passwd+"\n"), 0o644); err != nil {
		return err
	}
	return writeFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\n"+name+":x:"+gid+":\n"), 0o644)
}

func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(to, rel), data, 0o644)
	})
}

type buildRequest struct {
	dockerfile, context, work, layout string
	created                           int64
	arguments                         map[string]string
}

func (r buildRequest) buildArguments() []string {
	var args []string
	for _, name := range sortedKeys(r.arguments) {
		args = append(args, "--build-arg", name+"="+r.arguments[name])
	}
	return args
}

type engine func(context.Context, buildRequest) error

// findEngine prefers buildah, which needs no daemon and whose images are the
// same bytes each time, then a running Docker, then installing buildah.
func findEngine(ctx context.Context) (engine, error) {
	if _, err := exec.LookPath("buildah"); err == nil {
		return buildah, nil
	}
	if exec.CommandContext(ctx, "docker", "buildx", "version").Run() == nil && exec.CommandContext(ctx, "docker", "info").Run() == nil {
		return docker, nil
	}
	if err := apt.Ensure(ctx, apt.Need{Program: "buildah", Package: "buildah"}); err != nil {
		return nil, fmt.Errorf("neither buildah nor a Docker engine is here: %w", err)
	}
	return buildah, nil
}

// buildah keeps nothing: its storage is a folder of the build's own.
func buildah(ctx context.Context, r buildRequest) error {
	store := []string{"--storage-driver", "vfs", "--root", filepath.Join(r.work, "store"), "--runroot", filepath.Join(r.work, "run")}
	args := append(slices.Clone(store), "bud", "--isolation", "chroot", "--format", "oci", "--layers=false",
		"--timestamp", strconv.FormatInt(r.created, 10), "--tag", "built", "--file", r.dockerfile)
	args = append(append(args, r.buildArguments()...), r.context)
	if _, err := output(ctx, "", "buildah", args...); err != nil {
		return err
	}
	_, err := output(ctx, "", "buildah", append(store, "push", "--quiet", "built", "oci:"+r.layout+":built")...)
	return err
}

func docker(ctx context.Context, r buildRequest) error {
	file := filepath.Join(r.work, "docker.tar")
	args := append([]string{"buildx", "build", "--provenance=false", "--file", r.dockerfile, "--output", "type=oci,rewrite-timestamp=true,dest=" + file}, r.buildArguments()...)
	args = append(args, "--build-arg", "SOURCE_DATE_EPOCH="+strconv.FormatInt(r.created, 10), r.context)
	if _, err := output(ctx, "", "docker", args...); err != nil {
		return err
	}
	if err := os.MkdirAll(r.layout, 0o755); err != nil {
		return err
	}
	_, err := output(ctx, "", "tar", "-xf", file, "-C", r.layout)
	return err
}

// pack writes an OCI layout of one image as an archive with a name for each
// tag, and returns the digest.
func pack(layout, archive, name string, tags []string) (string, error) {
	data, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return "", err
	}
	var index struct {
		Manifests []struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
			Size      int64  `json:"size"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return "", err
	}
	if len(index.Manifests) != 1 {
		return "", fmt.Errorf("the build made %d manifests, not one", len(index.Manifests))
	}
	manifest := index.Manifests[0]
	var entries []map[string]any
	for _, reference := range references(name, tags, manifest.Digest) {
		entries = append(entries, map[string]any{
			"mediaType": manifest.MediaType, "digest": manifest.Digest, "size": manifest.Size,
			"annotations": map[string]string{
				ociarchive.NameAnnotation:           reference,
				"org.opencontainers.image.ref.name": reference,
			},
		})
	}
	if data, err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
	}); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(layout, "index.json"), data, 0o644); err != nil {
		return "", err
	}
	return manifest.Digest, writeArchive(layout, archive)
}

// writeArchive writes the layout's files in the order of their names with
// nothing of this machine in their headers.
func writeArchive(layout, archive string) error {
	partial := archive + ".partial"
	out, err := os.Create(partial)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(layout, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(layout, name)
		if err != nil {
			return err
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		info, err := in.Stat()
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: rel, Mode: 0o444, Size: info.Size(), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = io.Copy(w, in)
		return err
	})
	if err := errors.Join(err, w.Close(), out.Close()); err != nil {
		return err
	}
	return os.Rename(partial, archive)
}

// The stamp beside an archive says what it was made of.
func stampOf(archive string) string { return strings.TrimSuffix(archive, ".tar") + ".json" }

func readStamp(archive string) (Built, error) {
	var built Built
	if _, err := os.Stat(archive); err != nil {
		return built, err
	}
	data, err := os.ReadFile(stampOf(archive))
	if err != nil {
		return built, err
	}
	if err := json.Unmarshal(data, &built); err != nil {
		return built, err
	}
	built.Archive = archive // the checkout may have moved
	return built, nil
}

func writeStamp(built Built) error {
	data, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(stampOf(built.Archive), append(data, '\n'), 0o644)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
