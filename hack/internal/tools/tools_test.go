package tools

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryToolHasAModuleThatPinsIt(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, tool := range All() {
		if seen[tool.Name] {
			t.Errorf("%s is listed twice", tool.Name)
		}
		seen[tool.Name] = true
		goMod, err := os.ReadFile(filepath.Join(root, "hack", "tools", tool.Module, "go.mod"))
		if err != nil {
			t.Errorf("%s: %v", tool.Name, err)
			continue
		}
		own := strings.HasPrefix(tool.Package, ".") && tool.VersionOf == ""
		if version := pinnedVersion(goMod, tool); version == "dev" && !own {
			t.Errorf("%s: hack/tools/%s/go.mod requires no module that holds %s", tool.Name, tool.Module, tool.Package)
		}
	}
}

func TestPinnedVersionTakesTheLongestModulePath(t *testing.T) {
	goMod := []byte(`module x

require k8s.io/kubernetes v1.37.2

require (
	k8s.io/kube v1.0.0
	k8s.io/kubernetes/cmd/kubectl v9.9.9 // indirect
)

replace k8s.io/kubernetes/cmd => k8s.io/other v0.0.1
`)
	for name, want := range map[string]string{
		"k8s.io/kubernetes/cmd/kubelet": "v1.37.2",
		"k8s.io/kubernetes/cmd/kubectl": "v9.9.9",
		"k8s.io/kube-proxy":             "dev",
	} {
		if got := pinnedVersion(goMod, Tool{Package: name}); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestBuildFlagsCarryTheVersion(t *testing.T) {
	flags := strings.Join(buildFlags(Tool{LDFlags: "-X v={version} -X maj={major} -X min={minor}"}, "v1.37.2"), " ")
	if want := "-s -w -X v=v1.37.2 -X maj=1 -X min=37"; !strings.Contains(flags, want) {
		t.Errorf("%s lacks %s", flags, want)
	}
}

func TestFingerprintChangesWithWhatGoesIn(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sum := func(tool Tool, flags ...string) string {
		got, err := fingerprint(context.Background(), dir, tool, flags)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	own, foreign := Tool{Package: "."}, Tool{Package: "example.org/x"}
	write("go.mod", "module x\n")
	write("main.go", "package main\n")
	before, foreignBefore := sum(own), sum(foreign)

	write("main_test.go", "package main\n")
	if sum(own) != before {
		t.Error("a test changed the fingerprint")
	}
	write("main.go", "package main // changed\n")
	if sum(own) == before {
		t.Error("a changed source kept the fingerprint")
	}
	if sum(foreign) != foreignBefore {
		t.Error("our sources changed the fingerprint of somebody else's program")
	}
	if sum(foreign, "-tags", "x") == foreignBefore {
		t.Error("other flags kept the fingerprint")
	}
	write("go.sum", "x v1 h1:y\n")
	if sum(foreign) == foreignBefore {
		t.Error("a new go.sum kept the fingerprint")
	}
}

func TestPathBuildsOnceAndThenAnswersFromTheCache(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	pause, _ := Named("pause")
	var progress bytes.Buffer
	b := builder{root: root, cache: t.TempDir(), progress: &progress}
	first, err := b.path(context.Background(), pause)
	if err != nil {
		t.Fatal(err)
	}
	if !isProgram(first) {
		t.Fatalf("%s is not a program", first)
	}
	built := progress.String()
	second, err := b.path(context.Background(), pause)
	if err != nil {
		t.Fatal(err)
	}
	if first != second || progress.String() != built {
		t.Errorf("the second call built again: %s", progress.String())
	}
}
