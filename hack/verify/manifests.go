package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"gitee.com/captainjez/gocart/hack/internal/tools"
	"gitee.com/captainjez/gocart/internal/testenv"
)

// manifestsConform runs kubeconform, in strict mode and without a network, over
// the chart with several values, over config/ and over the samples.
func manifestsConform(ctx context.Context, root string) error {
	schemas, err := schemaFolder(ctx, root)
	if err != nil {
		return err
	}
	kubeconform, err := tools.Path(ctx, "kubeconform")
	if err != nil {
		return err
	}
	rendered := map[string]string{}
	valueFiles, err := filepath.Glob(filepath.Join(root, "charts", "testdata", "*.yaml"))
	if err != nil {
		return err
	}
	if rendered["the chart"], err = renderChart(ctx, root); err != nil {
		return err
	}
	for _, file := range valueFiles {
		if rendered["the chart with "+filepath.Base(file)], err = renderChart(ctx, root, "--values", file); err != nil {
			return err
		}
	}
	for _, folder := range []string{"config/default", "config/namespaced", "config/monitored", "config/samples"} {
		if rendered[folder], err = renderConfig(ctx, root, folder); err != nil {
			return err
		}
	}
	var failures []string
	for _, source := range slices.Sorted(maps.Keys(rendered)) {
		_, err := outputFrom(ctx, root, strings.NewReader(rendered[source]), kubeconform, "-strict", "-summary",
			"-schema-location", filepath.Join(schemas, "{{.ResourceKind}}_{{.Group}}_{{.ResourceAPIVersion}}.json"), "-")
		if err != nil {
			failures = append(failures, fmt.Sprintf("%s: %v", source, err))
		}
	}
	if len(failures) > 0 {
		return errors.New(strings.Join(failures, "\n"))
	}
	return nil
}

// schemaFolder holds a JSON schema for each kind that a real API server of the
// pinned version serves, with ours and the optional APIs installed. It is kept
// in the cache by what it was made from.
func schemaFolder(ctx context.Context, root string) (string, error) {
	cache, err := tools.CacheDir()
	if err != nil {
		return "", err
	}
	apiServer, err := tools.Path(ctx, "kube-apiserver")
	if err != nil {
		return "", err
	}
	etcd, err := tools.Path(ctx, "etcd")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, apiServer)
	crds, err := filepath.Glob(filepath.Join(root, "config", "crd", "commerce.rcommerce.app_*.yaml"))
	if err != nil {
		return "", err
	}
	for _, file := range append(crds, filepath.Join(root, "go.mod"), filepath.Join(root, "hack", "verify", "manifests.go")) {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		sum.Write(data)
	}
	folder := filepath.Join(cache, "schemas", hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	assets, err := os.MkdirTemp("", "gocart-assets-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(assets)
	for name, path := range map[string]string{"kube-apiserver": apiServer, "etcd": etcd} {
		if err := os.Symlink(path, filepath.Join(assets, name)); err != nil {
			return "", err
		}
	}
	if err := os.Setenv("KUBEBUILDER_ASSETS", assets); err != nil {
		return "", err
	}
	var cluster testenv.Cluster
	if err := cluster.Start(testenv.CertManager, testenv.GatewayAPI, testenv.ServiceMonitor); err != nil {
		return "", err
	}
	definitions, err := publishedDefinitions(ctx, cluster.Config())
	if err := errors.Join(err, cluster.Stop()); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(filepath.Dir(ensure(folder)), "partial-")
	if err != nil {
		return "", err
	}
	if err := writeSchemas(definitions, partial); err != nil {
		return "", err
	}
	return folder, os.Rename(partial, folder)
}

// ensure makes the folder's parent, and leaves errors to whoever uses it.
func ensure(folder string) string {
	_ = os.MkdirAll(filepath.Dir(folder), 0o755)
	return folder
}

// published are kinds whose schema the API server adds a moment after their definition.
var published = []string{"app.rcommerce.commerce.v1alpha1.JobSchedule", "app.rcommerce.commerce.v1alpha1.RateLimitPolicy", "app.rcommerce.commerce.v1alpha1.Store", "com.coreos.monitoring.v1.ServiceMonitor", "io.cert-manager.v1.Certificate"}

// publishedDefinitions reads /openapi/v2 once the custom kinds are in it.
func publishedDefinitions(ctx context.Context, config *rest.Config) (map[string]any, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		data, err := client.RESTClient().Get().AbsPath("/openapi/v2").SetHeader("Accept", "application/json").DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the API server's OpenAPI document: %w", err)
		}
		var document struct {
			Definitions map[string]any `json:"definitions"`
		}
		if err := json.Unmarshal(data, &document); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(published, func(name string) bool { return document.Definitions[name] == nil }) {
			return document.Definitions, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the API server's OpenAPI document lacks one of %q: %w", published, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// writeSchemas writes one self-contained, strict schema for each kind.
func writeSchemas(definitions map[string]any, folder string) error {
	for _, definition := range definitions {
		tighten(definition)
	}
	definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = map[string]any{"type": []any{"string", "number"}}
	for name, definition := range definitions {
		kinds, ok := definition.(map[string]any)["x-kubernetes-group-version-kind"].([]any)
		if !ok || len(kinds) != 1 { // several: what all kinds share, such as DeleteOptions
			continue
		}
		kind := kinds[0].(map[string]any)
		needed := map[string]any{}
		gather(definitions, name, needed)
		data, err := json.Marshal(map[string]any{"$ref": "#/definitions/" + name, "definitions": needed})
		if err != nil {
			return err
		}
		group := kind["group"]
		if group == "" {
			group = kind["version"] // kubeconform's name for the core group
		}
		file := fmt.Sprintf("%s_%s_%s.json", strings.ToLower(fmt.Sprint(kind["kind"])), group, kind["version"])
		if err := os.WriteFile(filepath.Join(folder, file), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tighten refuses fields that a schema does not name, and says "integer or
// string" in JSON schema's words.
func tighten(node any) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			tighten(item)
		}
	case map[string]any:
		if node["format"] == "int-or-string" || node["x-kubernetes-int-or-string"] == true {
			node["type"] = []any{"string", "integer"}
			delete(node, "format")
		}
		_, fields := node["properties"]
		_, others := node["additionalProperties"]
		if fields && !others && node["x-kubernetes-preserve-unknown-fields"] != true {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			tighten(child)
		}
	}
}

// gather collects a definition and all that it refers to.
func gather(definitions map[string]any, name string, into map[string]any) {
	if _, seen := into[name]; seen {
		return
	}
	into[name] = definitions[name]
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, item := range node {
				walk(item)
			}
		case map[string]any:
			if reference, ok := node["$ref"].(string); ok {
				gather(definitions, strings.TrimPrefix(reference, "#/definitions/"), into)
			}
			for _, child := range node {
				walk(child)
			}
		}
	}
	walk(definitions[name])
}
