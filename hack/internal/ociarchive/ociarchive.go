// Package ociarchive writes and reads container images as OCI archives (a tar
// of the OCI image layout), with the standard library alone. It makes the
// smallest kind of image, one layer of files over nothing, the same bytes every
// time, and reads just enough of anybody's archive to know what images it
// holds. Anything richer is a Dockerfile's business.
package ociarchive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
)

// NameAnnotation is where containerd and Docker keep an image's full name in
// the index of an archive.
const NameAnnotation = "io.containerd.image.name"

const refAnnotation = "org.opencontainers.image.ref.name"

// Image is one layer of files over an empty root.
type Image struct {
	// Name is the full reference, registry and tag included.
	Name string
	// Files maps absolute paths in the image to files of this machine. They
	// become owned by root, mode 0555.
	Files      map[string]string
	Entrypoint []string
	User       string // "uid:gid"
	Labels     map[string]string
}

// Write writes the image to file in one step.
func Write(file string, image Image) error {
	layer, err := layerOf(image.Files)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint": image.Entrypoint,
			"User":       image.User,
			"Labels":     image.Labels,
			"WorkingDir": "/",
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        descriptor("application/vnd.oci.image.config.v1+json", config),
		"layers":        []any{descriptor("application/vnd.oci.image.layer.v1.tar", layer)},
	})
	if err != nil {
		return err
	}
	entry := descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
	entry["annotations"] = map[string]string{NameAnnotation: image.Name}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.index.v1+json",
		"manifests":     []any{entry},
	})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, member := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		{blob(manifest), manifest},
		{blob(config), config},
		{blob(layer), layer},
	} {
		if err := add(w, member.name, 0o444, member.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	partial := file + ".partial"
	if err := os.WriteFile(partial, out.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(partial, file)
}

func layerOf(files map[string]string) ([]byte, error) {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range names {
		data, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		if err := add(w, strings.TrimPrefix(path.Clean(name), "/"), 0o555, data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return layer.Bytes(), err
}

func add(w *tar.Writer, name string, mode int64, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data)), Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

func descriptor(mediaType string, data []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digest(data), "size": len(data)}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blob(data []byte) string {
	return "blobs/sha256/" + strings.TrimPrefix(digest(data), "sha256:")
}

// Names lists the full references that an archive holds, whether it is an OCI
// archive (buildah, skopeo) or one of "docker save".
func Names(file string) ([]string, error) {
	index, manifest, err := readMembers(file)
	if err != nil {
		return nil, err
	}
	switch {
	case index != nil:
		_, names, err := withFullNames(index)
		return names, err
	case manifest != nil:
		return dockerNames(manifest)
	}
	return nil, errors.New(file + " is neither an OCI archive nor one of docker save")
}

// Copy copies the archive to w, with every image of an OCI index under its full
// name: tools write "name:tag" or "localhost/name:tag" as a bare reference,
// which a runtime would import under a made-up name.
func Copy(w io.Writer, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	from, to := tar.NewReader(in), tar.NewWriter(w)
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			return to.Close()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		var body io.Reader = from
		if path.Clean(header.Name) == "index.json" {
			data, err := io.ReadAll(from)
			if err != nil {
				return err
			}
			if data, _, err = withFullNames(data); err != nil {
				return err
			}
			header.Size, body = int64(len(data)), bytes.NewReader(data)
		}
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(to, body); err != nil {
			return err
		}
	}
}

func readMembers(file string) (index, manifest []byte, err error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	r := tar.NewReader(in)
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return index, manifest, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", file, err)
		}
		switch path.Clean(header.Name) {
		case "index.json":
			index, err = io.ReadAll(r)
		case "manifest.json":
			manifest, err = io.ReadAll(r)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

func withFullNames(data []byte) ([]byte, []string, error) {
	var index map[string]json.RawMessage
	var manifests []map[string]any
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, nil, fmt.Errorf("reading index.json: %w", err)
	}
	if err := json.Unmarshal(index["manifests"], &manifests); err != nil {
		return nil, nil, fmt.Errorf("reading index.json: %w", err)
	}
	var names []string
	for _, m := range manifests {
		annotations, _ := m["annotations"].(map[string]any)
		name, _ := annotations[NameAnnotation].(string)
		if name == "" {
			name, _ = annotations[refAnnotation].(string)
		}
		if !strings.ContainsAny(name, ":/") {
			continue // a bare tag names no image
		}
		name = FullName(name)
		annotations[NameAnnotation] = name
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, nil, errors.New("the archive names no image: write it with a name and a tag, like oci-archive:FILE:localhost/shop:v1")
	}
	var err error
	if index["manifests"], err = json.Marshal(manifests); err != nil {
		return nil, nil, err
	}
	data, err = json.Marshal(index)
	return data, names, err
}

func dockerNames(data []byte) ([]string, error) {
	var images []struct{ RepoTags []string }
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, fmt.Errorf("reading manifest.json: %w", err)
	}
	var names []string
	for _, image := range images {
		for _, tag := range image.RepoTags {
			names = append(names, FullName(tag))
		}
	}
	return names, nil
}

// FullName spells out what a short image name means to Kubernetes:
// "shop" is docker.io/library/shop:latest, "a/shop:v1" is docker.io/a/shop:v1.
func FullName(name string) string {
	host, rest, slash := strings.Cut(name, "/")
	switch {
	case !slash:
		name = "docker.io/library/" + name
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		name = "docker.io/" + name
	default:
		name = host + "/" + rest
	}
	last := name[strings.LastIndex(name, "/")+1:]
	if !strings.ContainsAny(last, ":@") {
		name += ":latest"
	}
	return name
}
