package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/hack/internal/tools"
)

const (
	releaseName      = "gocart-operator"
	releaseNamespace = "gocart-system"
)

// pairs are installs that both ways must make alike.
var pairs = []struct {
	config string
	values []string
}{
	{"config/default", nil},
	{"config/namespaced", []string{"--set", "watchNamespaces={" + releaseNamespace + "}"}},
	{"config/monitored", []string{"--set", "metrics.serviceMonitor.enabled=true"}},
}

// What is left out of the comparison, for only one of the two has a use for it.
var (
	// Labels and annotations by which Helm keeps its books.
	helmLabels      = []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}
	helmAnnotations = []string{"helm.sh/resource-policy"}
	// Helm makes the release's namespace by --create-namespace.
	kustomizeOnly = []string{"v1 Namespace /" + releaseNamespace}
)

func chartEqualsConfig(ctx context.Context, root string) error {
	var differences []string
	for _, pair := range pairs {
		chart, err := renderChart(ctx, root, pair.values...)
		if err != nil {
			return err
		}
		config, err := renderConfig(ctx, root, pair.config)
		if err != nil {
			return err
		}
		fromChart, err := normalised(chart)
		if err != nil {
			return fmt.Errorf("the chart: %w", err)
		}
		fromConfig, err := normalised(config)
		if err != nil {
			return fmt.Errorf("%s: %w", pair.config, err)
		}
		for _, name := range kustomizeOnly {
			delete(fromConfig, name)
		}
		for _, line := range compare(fromChart, fromConfig) {
			differences = append(differences, fmt.Sprintf("chart %s, %s: %s", strings.Join(pair.values, " "), pair.config, line))
		}
	}
	if len(differences) > 0 {
		return errors.New(strings.Join(differences, "\n"))
	}
	return nil
}

// namespacedRights looks for a right to anything but Stores' own kinds that a
// namespaced install has outside of its namespaces.
func namespacedRights(ctx context.Context, root string) error {
	rendered := map[string]string{}
	var err error
	if rendered["config/namespaced"], err = renderConfig(ctx, root, "config/namespaced"); err != nil {
		return err
	}
	if rendered["chart with watchNamespaces"], err = renderChart(ctx, root, "--set", "watchNamespaces={shop-a,shop-b}"); err != nil {
		return err
	}
	var found []string
	for source, text := range rendered {
		objects, err := parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		for _, object := range objects {
			switch object.GetKind() {
			case "ClusterRoleBinding":
				found = append(found, fmt.Sprintf("%s: a ClusterRoleBinding, %s", source, object.GetName()))
			case "ClusterRole":
				rules, _, err := unstructured.NestedSlice(object.Object, "rules")
				if err != nil {
					return err
				}
				for _, rule := range rules {
					groups, _, err := unstructured.NestedStringSlice(rule.(map[string]any), "apiGroups")
					if err != nil {
						return err
					}
					if !slices.Equal(groups, []string{"commerce.rcommerce.app"}) {
						found = append(found, fmt.Sprintf("%s: ClusterRole %s speaks of the groups %q", source, object.GetName(), groups))
					}
				}
			}
		}
	}
	if len(found) > 0 {
		return errors.New(strings.Join(found, "\n"))
	}
	return nil
}

func renderChart(ctx context.Context, root string, args ...string) (string, error) {
	helm, err := tools.Path(ctx, "helm")
	if err != nil {
		return "", err
	}
	return output(ctx, root, helm, append([]string{
		"template", releaseName, filepath.Join("charts", "gocart-operator"), "--namespace", releaseNamespace,
	}, args...)...)
}

func renderConfig(ctx context.Context, root, folder string) (string, error) {
	kustomize, err := tools.Path(ctx, "kustomize")
	if err != nil {
		return "", err
	}
	return output(ctx, root, kustomize, "build", folder)
}

func parse(manifests string) ([]unstructured.Unstructured, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(manifests)), 4096)
	var objects []unstructured.Unstructured
	for {
		object := unstructured.Unstructured{}
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// normalised is every object by its name, as YAML whose order says nothing.
func normalised(manifests string) (map[string]string, error) {
	objects, err := parse(manifests)
	if err != nil {
		return nil, err
	}
	byName := map[string]string{}
	for _, object := range objects {
		object.SetLabels(without(object.GetLabels(), helmLabels))
		object.SetAnnotations(without(object.GetAnnotations(), helmAnnotations))
		name := fmt.Sprintf("%s %s %s/%s", object.GetAPIVersion(), object.GetKind(), object.GetNamespace(), object.GetName())
		if _, twice := byName[name]; twice {
			return nil, fmt.Errorf("%s is rendered twice", name)
		}
		data, err := json.Marshal(object.Object)
		if err != nil {
			return nil, err
		}
		text, err := yaml.JSONToYAML(data)
		if err != nil {
			return nil, err
		}
		byName[name] = string(text)
	}
	return byName, nil
}

func without(entries map[string]string, keys []string) map[string]string {
	maps.DeleteFunc(entries, func(key, _ string) bool { return slices.Contains(keys, key) })
	if len(entries) == 0 {
		return nil
	}
	return entries
}

// compare names the objects that differ, with the first lines that do.
func compare(chart, config map[string]string) []string {
	var differences []string
	names := slices.Concat(slices.Collect(maps.Keys(chart)), slices.Collect(maps.Keys(config)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		left, inChart := chart[name]
		right, inConfig := config[name]
		switch {
		case !inConfig:
			differences = append(differences, name+": only the chart has it")
		case !inChart:
			differences = append(differences, name+": only config has it")
		case left != right:
			differences = append(differences, name+":\n"+firstDifference(left, right))
		}
	}
	return differences
}

func firstDifference(left, right string) string {
	l, r := strings.Split(left, "\n"), strings.Split(right, "\n")
	for i := range max(len(l), len(r)) {
		if i >= len(l) || i >= len(r) || l[i] != r[i] {
			from := max(0, i-3)
			return fmt.Sprintf("the chart:\n%s\nconfig:\n%s",
				strings.Join(l[from:min(len(l), i+4)], "\n"), strings.Join(r[from:min(len(r), i+4)], "\n"))
		}
	}
	return ""
}
