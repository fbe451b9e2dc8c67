package config

import (
	"encoding/json"
	"fmt"
	"reflect"

	"sigs.k8s.io/yaml"
)

// marshal renders what differs from the defaults, as YAML with keys in a fixed
// order. What is left out is up to the runtime that reads it: an operator of a
// newer release, with other defaults or further keys, so renders the same
// bytes for the same wishes, and a runtime of an older one can read them.
func marshal[T any](value, defaults T) ([]byte, error) {
	wanted, err := tree(value)
	if err != nil {
		return nil, err
	}
	usual, err := tree(defaults)
	if err != nil {
		return nil, err
	}
	leaveOut(wanted, usual)
	return yaml.Marshal(wanted)
}

func tree(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var t map[string]any
	return t, json.Unmarshal(raw, &t)
}

// leaveOut removes from wanted what is equal in defaults.
func leaveOut(wanted, defaults map[string]any) {
	for key, value := range wanted {
		if reflect.DeepEqual(value, defaults[key]) {
			delete(wanted, key)
			continue
		}
		inner, isMap := value.(map[string]any)
		innerDefaults, both := defaults[key].(map[string]any)
		if isMap && both {
			leaveOut(inner, innerDefaults)
		}
	}
}

// findings collects every broken rule, each with the key it is about.
type findings []error

func (f *findings) require(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}
