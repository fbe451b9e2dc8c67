package apply

import (
	"fmt"
	"reflect"
	"sort"
)

// merged are the lists that Kubernetes merges by a key, so that others may add
// items of their own: sidecars and what they need. Other lists are one value.
var merged = map[string]string{
	"containers": "name", "initContainers": "name", "volumes": "name", "volumeMounts": "mountPath",
	"env": "name", "ports": "name", "imagePullSecrets": "name", "ownerReferences": "uid",
}

// exact are the maps that are one value: a label more and a Service leads
// nowhere.
var exact = map[string]bool{
	"selector": true, "podSelector": true, "namespaceSelector": true, "labelSelector": true, "nodeSelector": true,
}

// Diff returns the paths of planned fields whose values differ in the live
// object, sorted. Fields that the plan does not have are not compared, save in
// what Kubernetes takes for one value: selectors, and all that a NetworkPolicy
// allows. Both are JSON values of the same Go types, so that quantities and
// durations are spelled alike.
func Diff(planned, live map[string]any) []string {
	d := differ{whole: planned["kind"] == "NetworkPolicy"}
	d.fields("", planned, live, false)
	sort.Strings(d.paths)
	return d.paths
}

type differ struct {
	// whole: the object's spec is one value.
	whole bool
	paths []string
}

func (d *differ) add(path string) { d.paths = append(d.paths, path) }

func (d *differ) fields(path string, planned, live map[string]any, whole bool) {
	for k, want := range planned {
		at := k
		if path != "" {
			at = path + "." + k
		}
		if at == "metadata.annotations."+annotationApplied {
			continue
		}
		d.value(at, k, want, live[k], whole || exact[k] || d.whole && at == "spec")
	}
	if !whole {
		return
	}
	for k, have := range live {
		if _, wanted := planned[k]; !wanted && have != nil {
			d.add(path + "." + k)
		}
	}
}

func (d *differ) value(path, field string, want, have any, whole bool) {
	switch w := want.(type) {
	case nil:
		return
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok && len(w) > 0 {
			d.add(path)
			return
		}
		d.fields(path, w, h, whole)
	case []any:
		h, _ := have.([]any)
		d.list(path, field, w, h, whole)
	default:
		// A zero that a Go type writes although it means "unset" is no wish.
		if !reflect.DeepEqual(want, have) && !(have == nil && reflect.ValueOf(want).IsZero()) {
			d.add(path)
		}
	}
}

func (d *differ) list(path, field string, want, have []any, whole bool) {
	if key, ok := merged[field]; ok && !whole {
		wanted, ok := byKey(want, key)
		found, ok2 := byKey(have, key)
		if ok && ok2 {
			for k, w := range wanted {
				at := fmt.Sprintf("%s[%s]", path, k)
				if h, there := found[k]; there {
					d.fields(at, w, h, false)
				} else {
					d.add(at)
				}
			}
			return
		}
	}
	if len(want) != len(have) {
		d.add(path)
		return
	}
	for i := range want {
		d.value(fmt.Sprintf("%s[%d]", path, i), "", want[i], have[i], whole)
	}
}

// byKey indexes a list of objects; false where an item has no key or two share one.
func byKey(list []any, key string) (map[string]map[string]any, bool) {
	index := make(map[string]map[string]any, len(list))
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, false
		}
		k, ok := m[key].(string)
		if !ok {
			return nil, false
		}
		if _, twice := index[k]; twice {
			return nil, false
		}
		index[k] = m
	}
	return index, true
}

// shorten keeps an event readable.
func shorten(paths []string) []string {
	const most = 5
	if len(paths) <= most {
		return paths
	}
	return append(paths[:most:most], fmt.Sprintf("and %d more", len(paths)-most))
}
