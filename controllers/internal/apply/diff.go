package apply

import (
	"fmt"
	"reflect"
	"sort"

	"k8s.io/apimachinery/pkg/api/meta"
)

var metaEachListItem = meta.EachListItem

// Diff returns the paths of planned fields whose values differ in the live
// object, sorted. Fields that the plan does not have are not compared. Both
// are JSON values of the same Go types, so that quantities and durations are
// spelled alike. Lists whose items have distinct names are compared by name, and
// may hold further items of others; other lists are compared whole.
func Diff(planned, live map[string]any) []string {
	var paths []string
	diffMap("", planned, live, &paths)
	sort.Strings(paths)
	return paths
}

func diffMap(path string, planned, live map[string]any, paths *[]string) {
	for k, want := range planned {
		at := k
		if path != "" {
			at = path + "." + k
		}
		if at == "metadata.annotations."+annotationApplied {
			continue
		}
		diffValue(at, want, live[k], paths)
	}
}

func diffValue(path string, want, have any, paths *[]string) {
	switch w := want.(type) {
	case nil:
		return
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok && len(w) > 0 {
			*paths = append(*paths, path)
			return
		}
		diffMap(path, w, h, paths)
	case []any:
		h, _ := have.([]any)
		diffList(path, w, h, paths)
	default:
		if !reflect.DeepEqual(want, have) && !isZero(want, have) {
			*paths = append(*paths, path)
		}
	}
}

// isZero: a zero that a Go type writes although it means "unset" is no wish.
func isZero(want, have any) bool {
	return have == nil && reflect.ValueOf(want).IsZero()
}

func diffList(path string, want, have []any, paths *[]string) {
	wantNames, ok := byName(want)
	haveNames, ok2 := byName(have)
	if ok && ok2 {
		for name, w := range wantNames {
			at := fmt.Sprintf("%s[%s]", path, name)
			h, found := haveNames[name]
			if !found {
				*paths = append(*paths, at)
				continue
			}
			diffMap(at, w, h, paths)
		}
		return
	}
	if len(want) != len(have) {
		*paths = append(*paths, path)
		return
	}
	for i := range want {
		diffValue(fmt.Sprintf("%s[%d]", path, i), want[i], have[i], paths)
	}
}

// byName indexes a list of objects by their names; false where an item has
// none or two share one.
func byName(list []any) (map[string]map[string]any, bool) {
	index := make(map[string]map[string]any, len(list))
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, false
		}
		name, ok := m["name"].(string)
		if !ok {
			return nil, false
		}
		if _, twice := index[name]; twice {
			return nil, false
		}
		index[name] = m
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
