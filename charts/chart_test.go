// Package charts holds the Helm chart, and its tests against a real API server.
package charts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitee.com/captainjez/gocart/internal/testenv"
)

const releaseNamespace = "gocart-system"

var (
	cluster testenv.Cluster
	helm    string
)

func TestMain(m *testing.M) {
	build := exec.Command("go", "run", "./hack/build", "tool", "helm")
	build.Dir, build.Stderr = "..", os.Stderr
	path, err := build.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "building helm:", err)
		os.Exit(1)
	}
	helm = strings.TrimSpace(string(path))
	os.Exit(cluster.Run(m, testenv.ServiceMonitor))
}

func TestTheAPIServerTakesEveryObjectInStrictValidation(t *testing.T) {
	c := cluster.Client(t)
	for _, namespace := range []string{releaseNamespace, "shop-a", "shop-b"} {
		if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, values := range []string{"", "testdata/everything.yaml", "testdata/namespaces.yaml"} {
		t.Run("with "+values, func(t *testing.T) {
			for _, object := range render(t, valueArgs(values)...) {
				err := c.Patch(t.Context(), &object, client.Apply, client.FieldOwner("chart-test"), client.ForceOwnership, //nolint:staticcheck // the typed Apply wants a declarative type for each kind
					client.DryRunAll, client.FieldValidation("Strict"))
				if err != nil {
					t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
				}
			}
		})
	}
}

func TestTheOperatorsPodPassesTheRestrictedStandard(t *testing.T) {
	c := cluster.Client(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "restricted-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for _, values := range []string{"", "testdata/everything.yaml"} {
		template := podTemplate(t, render(t, valueArgs(values)...))
		template.Spec.PriorityClassName = "" // of no importance here, and not to be had in every namespace
		template.Spec.ServiceAccountName = ""
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "operator", Namespace: namespace.Name, Labels: template.Labels},
			Spec:       template.Spec,
		}
		if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("with %q: %v", values, err)
		}
		if root := pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem; root == nil || !*root {
			t.Errorf("with %q: the root file system can be written", values)
		}
	}
}

func TestValuesThatAreWrongAreRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"A value that does not exist":             {"--set", "replicaCount=2"},
		"A nested value that does not exist":      {"--set", "image.name=a"},
		"Replicas that are not a number":          {"--set-string", "replicas=two"},
		"Two replicas without leader election":    {"--set", "replicas=2,leaderElection.enabled=false"},
		"A log level that does not exist":         {"--set", "logLevel=loud"},
		"A namespace that can not be":             {"--set", "watchNamespaces={Shop}"},
		"A CA bundle that holds no certificate":   {"--set", "acme.caBundle=x"},
		"An ACME directory over plain HTTP":       {"--set", "acme.productionURL=http://acme.example.com"},
		"A digest that is not one":                {"--set", "image.digest=sha256:abc"},
		"Node labels whose value is not a string": {"--set", "nodeSelector.a=1"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := template(args...); err == nil {
				t.Errorf("rendered: %.200s", out)
			} else if !strings.Contains(err.Error(), "schema") {
				t.Errorf("refused for another reason: %v", err)
			}
		})
	}
}

func TestAMonitorWithoutTheServiceIsRefusedInWords(t *testing.T) {
	_, err := template("--set", "metrics.serviceMonitor.enabled=true,metrics.service.enabled=false")
	if err == nil || !strings.Contains(err.Error(), "metrics.serviceMonitor.enabled needs metrics.service.enabled") {
		t.Errorf("got %v", err)
	}
}

func TestADisruptionBudgetComesWithTheSecondReplica(t *testing.T) {
	for args, want := range map[string]bool{"replicas=1": false, "replicas=2": true} {
		found := false
		for _, object := range render(t, "--set", args) {
			found = found || object.GetKind() == "PodDisruptionBudget"
		}
		if found != want {
			t.Errorf("%s: a budget is there: %t, want %t", args, found, want)
		}
	}
}

func TestTheDefinitionsAreKeptOnUninstall(t *testing.T) {
	found := 0
	for _, object := range render(t) {
		if object.GetKind() == "CustomResourceDefinition" {
			found++
			if object.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
				t.Errorf("%s would go with the release, and every object of its kind with it", object.GetName())
			}
		}
	}
	if found == 0 {
		t.Error("the chart holds no definition")
	}
}

func TestANewCABundleMakesNewPods(t *testing.T) {
	const begin = "-----BEGIN CERTIFICATE-----\n"
	first := podTemplate(t, render(t, "--set", "acme.caBundle="+begin+"a"))
	second := podTemplate(t, render(t, "--set", "acme.caBundle="+begin+"b"))
	if fmt.Sprint(first.Annotations) == fmt.Sprint(second.Annotations) {
		t.Errorf("the pods have the same annotations: %v", first.Annotations)
	}
}

func valueArgs(file string) []string {
	if file == "" {
		return nil
	}
	return []string{"--values", filepath.Join("charts", file)}
}

func podTemplate(t *testing.T, objects []unstructured.Unstructured) corev1.PodTemplateSpec {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		raw, _, err := unstructured.NestedMap(object.Object, "spec", "template")
		if err != nil {
			t.Fatal(err)
		}
		made := corev1.PodTemplateSpec{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &made); err != nil {
			t.Fatal(err)
		}
		return made
	}
	t.Fatal("no Deployment")
	return corev1.PodTemplateSpec{}
}

func render(t *testing.T, args ...string) []unstructured.Unstructured {
	t.Helper()
	out, err := template(args...)
	if err != nil {
		t.Fatal(err)
	}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	var objects []unstructured.Unstructured
	for {
		object := unstructured.Unstructured{}
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

func template(args ...string) ([]byte, error) {
	cmd := exec.Command(helm, append([]string{
		"template", "gocart-operator", "charts/gocart-operator", "--namespace", releaseNamespace,
	}, args...)...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("helm template: %w: %s", err, &stderr)
	}
	return out, nil
}
