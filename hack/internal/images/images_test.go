package images

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gitee.com/captainjez/gocart/hack/internal/ociarchive"
)

func TestAVersionBecomesATag(t *testing.T) {
	for version, want := range map[string]string{
		"5:7.0.15-1~deb12u10": "7.0.15-1_deb12u10",
		"15.20-0+deb12u1":     "15.20-0_deb12u1",
		"v1.21.2":             "v1.21.2",
	} {
		if got := tagOf(version); got != want {
			t.Errorf("%s becomes %s, want %s", version, got, want)
		}
	}
}

func TestEveryImageHasADockerfileAndAUserThatIsNotRoot(t *testing.T) {
	for _, image := range All() {
		data, err := os.ReadFile(filepath.Join("../../images", image.Name, "Dockerfile"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, line := range []string{"FROM scratch\n", "\nUSER ", "org.opencontainers.image.revision"} {
			if !bytes.Contains(data, []byte(line)) {
				t.Errorf("the Dockerfile of %s has no %q", image.Name, line)
			}
		}
		if bytes.Contains(data, []byte("\nUSER 0")) || bytes.Contains(data, []byte("\nUSER root")) {
			t.Errorf("%s runs as root", image.Name)
		}
	}
}

func TestOnlyLibrariesAreFollowed(t *testing.T) {
	depends := parseDepends(`redis-tools
  Depends: adduser
  PreDepends: libssl3
 |Depends: libsystemd0
    libelogind0
  Depends: <debconf-2.0>
    debconf
libssl3
  Depends: libc6
libc6
  Depends: libgcc-s1
libsystemd0
  Depends: libllvm14
adduser
  Depends: libperl5.36
`)
	got := librariesOf([]string{"redis-tools"}, depends)
	want := []string{"libc6", "libgcc-s1", "libssl3", "libsystemd0", "redis-tools"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPackageFilesAreReadFromApt(t *testing.T) {
	debs, err := parseURIs("'http://deb.debian.org/pool/r/redis-tools_7.0.15-1_amd64.deb' redis-tools_5%3a7.0.15-1_amd64.deb 991988 SHA256:abc\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []deb{{name: "redis-tools", version: "5:7.0.15-1", file: "redis-tools_5%3a7.0.15-1_amd64.deb", sum: "abc"}}
	if !slices.Equal(debs, want) {
		t.Errorf("got %+v, want %+v", debs, want)
	}
	if _, err := parseURIs("E: Unable to locate package\n"); err == nil {
		t.Error("no package at all is not an error")
	}
}

func TestLinksAreFollowedInsideTheTree(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"lib/x", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lib/x/ld.so"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"lib64":         "/lib/x",      // absolute: of the tree, not of this machine
		"usr/bin/a":     "../../lib64", // relative, over another link
		"usr/bin/loop":  "loop",
		"usr/bin/away":  "/nowhere",
		"lib/x/ld.so.2": "ld.so",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"/lib64/ld.so.2": "lib/x/ld.so",
		"usr/bin/a":      "lib/x",
		"usr/bin/loop":   "",
		"usr/bin/away":   "",
	} {
		got, err := tree(dir).real(name)
		if got != want || (want == "") != (err != nil) {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestAnArchiveHasANameForEachTagAndOneForItsContent(t *testing.T) {
	layout := t.TempDir()
	index := `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:0123456789abcdef","size":7}]}`
	if err := os.WriteFile(filepath.Join(layout, "index.json"), []byte(index), 0o644); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "redis.tar")
	digest, err := pack(layout, archive, "redis", []string{"7", "7.0.15"})
	if err != nil || digest != "sha256:0123456789abcdef" {
		t.Fatalf("the digest is %q, %v", digest, err)
	}
	names, err := ociarchive.Names(archive)
	want := []string{"docker.io/library/redis:7", "docker.io/library/redis:7.0.15", "docker.io/library/redis:sha-0123456789ab"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("the names are %v, %v; want %v", names, err, want)
	}
}
