package ociarchive

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestTheSameFilesMakeTheSameArchive(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	image := Image{Name: "gocart.local/x:v1", Files: map[string]string{"/x": program}, Entrypoint: []string{"/x"}, User: "65532:65532"}
	var archives [2][]byte
	for i := range archives {
		file := filepath.Join(dir, "image.tar")
		if err := Write(file, image); err != nil {
			t.Fatal(err)
		}
		archives[i], _ = os.ReadFile(file)
		names, err := Names(file)
		if err != nil || !slices.Equal(names, []string{"gocart.local/x:v1"}) {
			t.Errorf("names are %v, %v", names, err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two writes differ")
	}
}

func TestCopyGivesEveryImageItsFullName(t *testing.T) {
	file := archive(t, "index.json", `{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":1,"annotations":{"org.opencontainers.image.ref.name":"shop:v1"}}]}`)
	var out bytes.Buffer
	if err := Copy(&out, file); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.tar")
	if err := os.WriteFile(copied, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out.Bytes(), []byte(`"io.containerd.image.name":"docker.io/library/shop:v1"`)) {
		t.Errorf("the name is not spelled out: %s", out.String())
	}
	if !bytes.Contains(out.Bytes(), []byte(`"schemaVersion":2`)) {
		t.Error("the rest of the index is lost")
	}
	names, err := Names(copied)
	if err != nil || !slices.Equal(names, []string{"docker.io/library/shop:v1"}) {
		t.Errorf("names are %v, %v", names, err)
	}
}

func TestAnArchiveWithoutANameIsRefused(t *testing.T) {
	file := archive(t, "index.json", `{"manifests":[{"digest":"sha256:00","annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`)
	if _, err := Names(file); err == nil {
		t.Error("accepted")
	}
}

func TestDockerArchivesNameTheirImages(t *testing.T) {
	file := archive(t, "manifest.json", `[{"RepoTags":["localhost/shop:v1","a/b:c"]}]`)
	names, err := Names(file)
	if err != nil || !slices.Equal(names, []string{"localhost/shop:v1", "docker.io/a/b:c"}) {
		t.Errorf("names are %v, %v", names, err)
	}
}

func TestFullName(t *testing.T) {
	for short, want := range map[string]string{
		"shop":                   "docker.io/library/shop:latest",
		"shop:v1":                "docker.io/library/shop:v1",
		"a/shop":                 "docker.io/a/shop:latest",
		"localhost/shop:v1":      "localhost/shop:v1",
		"reg.example:5000/a/b":   "reg.example:5000/a/b:latest",
		"reg.example/a@sha256:0": "reg.example/a@sha256:0",
	} {
		if got := FullName(short); got != want {
			t.Errorf("%s: got %s, want %s", short, got, want)
		}
	}
}

func archive(t *testing.T, member, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := add(w, member, 0o444, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
