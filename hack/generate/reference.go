package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// kubernetesTypes are fields whose type is Kubernetes' own, by name, with the
// type's. The reference names them and does not repeat their fields.
var kubernetesTypes = map[string]string{
	"affinity":                  "core/v1 Affinity",
	"tolerations":               "[]core/v1 Toleration",
	"topologySpreadConstraints": "[]core/v1 TopologySpreadConstraint",
	"resources":                 "core/v1 ResourceRequirements",
	"parentRefs":                "[]gateway.networking.k8s.io/v1 ParentReference",
	"publicFrom":                "[]networking.k8s.io/v1 NetworkPolicyPeer",
	"metricsFrom":               "[]networking.k8s.io/v1 NetworkPolicyPeer",
	"conditions":                "[]meta/v1 Condition",
	"metadata":                  "meta/v1 ObjectMeta",
}

// references writes docs/reference/KIND.md for every CustomResourceDefinition.
func references(_ context.Context, root string) error {
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "commerce.rcommerce.app_*.yaml"))
	if err != nil {
		return err
	}
	target := filepath.Join(root, "docs", "reference")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		page := filepath.Join(target, crd.Spec.Names.Singular+".md")
		if err := os.WriteFile(page, []byte(reference(crd)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func reference(crd *apiextensionsv1.CustomResourceDefinition) string {
	var page strings.Builder
	names := crd.Spec.Names
	version := crd.Spec.Versions[0]
	schema := version.Schema.OpenAPIV3Schema
	fmt.Fprintf(&page, "<!-- Written by make generate from api/%s. Do not edit. -->\n\n# %s\n\n", version.Name, names.Kind)
	fmt.Fprintf(&page, "`apiVersion: %s/%s`, `kind: %s`. %s\n\n", crd.Spec.Group, version.Name, names.Kind, sentence(schema.Description))
	if len(names.ShortNames) > 0 {
		fmt.Fprintf(&page, "`kubectl get %s`, short `%s`.\n\n", names.Plural, strings.Join(names.ShortNames, "`, `"))
	}
	rules(&page, schema)
	for _, part := range []string{"spec", "status"} {
		property := schema.Properties[part]
		section(&page, part, &property)
	}
	return strings.TrimRight(page.String(), "\n") + "\n"
}

func section(page *strings.Builder, path string, schema *apiextensionsv1.JSONSchemaProps) {
	fmt.Fprintf(page, "## %s\n\n", path)
	if text := sentence(schema.Description); text != "" {
		fmt.Fprintf(page, "%s\n\n", text)
	}
	names := fieldNames(schema)
	if len(names) == 0 {
		fmt.Fprintf(page, "An empty object, `{}`: that it is there says it all.\n\n")
	} else {
		page.WriteString("| field | type | default | |\n| --- | --- | --- | --- |\n")
	}
	for _, name := range names {
		property := schema.Properties[name]
		text := sentence(property.Description)
		if slices.Contains(schema.Required, name) {
			text = "**Required.** " + text
		}
		if limits := limits(&property); limits != "" {
			text += " " + limits
		}
		fmt.Fprintf(page, "| `%s` | %s | %s | %s |\n", name, typeOf(path, name, &property), defaultOf(&property), strings.ReplaceAll(text, "|", `\|`))
	}
	page.WriteString("\n")
	rules(page, schema)
	for _, name := range names {
		property := schema.Properties[name]
		if _, foreign := kubernetesTypes[name]; foreign {
			continue
		}
		switch {
		case property.Type == "array" && property.Items.Schema.Type == "object":
			section(page, path+"."+name+"[]", property.Items.Schema)
		case property.Type == "object" && property.AdditionalProperties == nil && property.XPreserveUnknownFields == nil:
			section(page, path+"."+name, &property)
		}
	}
}

// rules lists what is checked about a value as a whole.
func rules(page *strings.Builder, schema *apiextensionsv1.JSONSchemaProps) {
	for _, rule := range schema.XValidations {
		fmt.Fprintf(page, "- %s.\n", rule.Message)
	}
	if len(schema.XValidations) > 0 {
		page.WriteString("\n")
	}
}

func typeOf(path, name string, schema *apiextensionsv1.JSONSchemaProps) string {
	if foreign, ok := kubernetesTypes[name]; ok {
		return foreign
	}
	switch {
	case schema.XIntOrString:
		return "quantity"
	case schema.Type == "object" && schema.AdditionalProperties != nil:
		return "map of " + schema.AdditionalProperties.Schema.Type
	case schema.XPreserveUnknownFields != nil:
		return "any object"
	case schema.Type == "object":
		return link(path + "." + name)
	case schema.Type == "array" && schema.Items.Schema.Type == "object":
		return "list of " + link(path+"."+name+"[]")
	case schema.Type == "array":
		return "list of " + schema.Items.Schema.Type
	case schema.Format == "date-time":
		return "time"
	default:
		return schema.Type
	}
}

// link refers to a section as the common Markdown renderers name it.
func link(section string) string {
	anchor := strings.NewReplacer(".", "", "[", "", "]", "").Replace(strings.ToLower(section))
	return fmt.Sprintf("[object](#%s)", anchor)
}

func defaultOf(schema *apiextensionsv1.JSONSchemaProps) string {
	if schema.Default == nil {
		return ""
	}
	return "`" + string(schema.Default.Raw) + "`"
}

func limits(schema *apiextensionsv1.JSONSchemaProps) string {
	var parts []string
	if len(schema.Enum) > 0 {
		parts = append(parts, "One of "+words(schema.Enum)+".")
	}
	if items := schema.Items; items != nil && items.Schema != nil && len(items.Schema.Enum) > 0 {
		parts = append(parts, "Each one of "+words(items.Schema.Enum)+".")
	}
	parts = append(parts, span("", schema.Minimum, schema.Maximum))
	parts = append(parts, span(" characters", schema.MinLength, schema.MaxLength))
	parts = append(parts, span(" items", schema.MinItems, schema.MaxItems))
	parts = append(parts, span(" entries", schema.MinProperties, schema.MaxProperties))
	for _, rule := range schema.XValidations {
		if schema.Type != "object" {
			parts = append(parts, "Rule: "+rule.Message+".")
		}
	}
	if items := schema.Items; items != nil && items.Schema != nil && items.Schema.Type != "object" {
		for _, rule := range items.Schema.XValidations {
			parts = append(parts, "Each "+rule.Message+".")
		}
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " ")
}

func words(values []apiextensionsv1.JSON) string {
	quoted := make([]string, 0, len(values))
	for _, value := range values {
		var word string
		if err := json.Unmarshal(value.Raw, &word); err != nil || word == "" {
			word = string(value.Raw)
		}
		quoted = append(quoted, "`"+word+"`")
	}
	return strings.Join(quoted, ", ")
}

func span[T int64 | float64](unit string, low, high *T) string {
	switch {
	case low != nil && high != nil:
		return fmt.Sprintf("%v to %d%s.", *low, int64(*high), unit)
	case low != nil:
		return fmt.Sprintf("At least %v%s.", *low, unit)
	case high != nil:
		return fmt.Sprintf("At most %d%s.", int64(*high), unit)
	default:
		return ""
	}
}

func fieldNames(schema *apiextensionsv1.JSONSchemaProps) []string {
	names := make([]string, 0, len(schema.Properties))
	for name := range schema.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sentence is a description on one line.
func sentence(text string) string { return strings.Join(strings.Fields(text), " ") }
