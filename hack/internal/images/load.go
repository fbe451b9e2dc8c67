package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gitee.com/captainjez/gocart/hack/internal/tools"
)

// Load puts the images into the cluster of the kubeconfig, which is the one of
// "hack/cluster kubeconfig", leaving out those that were put into that same
// cluster before.
func Load(ctx context.Context, root, config string, progress io.Writer, built ...Built) error {
	cluster, err := clusterID(ctx, config)
	if err != nil {
		return fmt.Errorf("loading images: %w", err)
	}
	if registry := os.Getenv("REGISTRY"); registry != "" {
		cluster += " " + registry // what one registry has, another lacks
	}
	file := filepath.Join(root, "dist", "images", ".loaded.json")
	loaded, err := readLoaded(file)
	if err != nil {
		return err
	}
	here := loaded[cluster]
	var archives []string
	next := map[string]string{}
	for name, digest := range here {
		next[name] = digest
	}
	for _, image := range built {
		if here[image.References[0]] != image.Digest {
			archives = append(archives, image.Archive)
			next[image.References[0]] = image.Digest
		}
	}
	if len(archives) == 0 {
		return nil
	}
	start := time.Now()
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./hack/cluster", "load"}, archives...)...)
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("loading %s: %w", strings.Join(archives, " "), err)
	}
	fmt.Fprintf(progress, "loading %d images ... %.1fs\n", len(archives), time.Since(start).Seconds())
	// One cluster at a time has this checkout's images: forget the others.
	data, err := json.MarshalIndent(map[string]map[string]string{cluster: next}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

func readLoaded(file string) (map[string]map[string]string, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var loaded map[string]map[string]string
	if err := json.Unmarshal(data, &loaded); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return loaded, nil
}

// clusterID is different for each cluster that was ever made and for each set
// of its nodes: an image has to be on all of them.
func clusterID(ctx context.Context, config string) (string, error) {
	kubectl, err := tools.Path(ctx, "kubectl")
	if err != nil {
		return "", err
	}
	return output(ctx, "", kubectl, "--kubeconfig="+config, "get", "nodes", "--sort-by=.metadata.name",
		"--output=jsonpath={.items[*].metadata.uid}")
}

// Kubeconfig is the file that reaches the cluster.
func Kubeconfig(ctx context.Context, root string) (string, error) {
	out, err := output(ctx, root, "go", "run", "./hack/cluster", "kubeconfig")
	return strings.TrimSpace(out), err
}

// Backend is the kind of cluster that there is or would be: native, kind or current.
func Backend(ctx context.Context, root string) (string, error) {
	out, err := output(ctx, root, "go", "run", "./hack/cluster", "backend")
	return strings.TrimSpace(out), err
}
