package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gitee.com/captainjez/gocart/hack/internal/ociarchive"
)

// systemImage packs one of the cluster's own programs as an image named after
// the program's fingerprint and returns the name and the archive.
func systemImage(l layout, s settings, tool string) (name, archive string, err error) {
	program := s.bin[tool]
	name = systemImageName(tool, program)
	tag := name[strings.LastIndex(name, ":")+1:]
	archive = l.path("images", tool+"-"+tag+".tar")
	if exists(archive) {
		return name, archive, nil
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return "", "", err
	}
	return name, archive, ociarchive.Write(archive, ociarchive.Image{
		Name:       name,
		Files:      map[string]string{"/" + tool: program},
		Entrypoint: []string{"/" + tool},
		User:       "65532:65532",
		Labels:     map[string]string{"org.opencontainers.image.title": tool, "org.opencontainers.image.version": tag},
	})
}

func systemImageName(tool, program string) string {
	tag := filepath.Base(filepath.Dir(program)) // NAME@VERSION-FINGERPRINT
	tag = tag[strings.Index(tag, "@")+1:]
	return "gocart.local/" + tool + ":" + strings.ReplaceAll(tag, "+", "_")
}

// loadImage imports an archive into a node's containerd.
func loadImage(ctx context.Context, n node, s settings, archive string) error {
	cmd := exec.CommandContext(ctx, s.bin["ctr"], "--address="+n.containerdSocket(), "--namespace=k8s.io", "images", "import", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	copyErr := ociarchive.Copy(in, archive)
	closeErr := in.Close()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("importing %s into %s: %w: %s", archive, n.Name, err, strings.TrimSpace(said.String()))
	}
	if copyErr != nil {
		return copyErr
	}
	return closeErr
}

// hasImage says whether a node holds the named image.
func hasImage(ctx context.Context, n node, s settings, name string) bool {
	out := output(ctx, s.bin["ctr"], "--address="+n.containerdSocket(), "--namespace=k8s.io", "images", "ls", "-q", "name=="+name)
	return out == name
}
