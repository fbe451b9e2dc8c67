package problem

import "strings"

// Words are names as people list them: a, b or c, with the word before the last.
func Words[S ~string](all []S, last string) string {
	if len(all) == 0 {
		return ""
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = string(s)
	}
	n := len(names) - 1
	if n == 0 {
		return names[0]
	}
	return strings.Join(names[:n], ", ") + " " + last + " " + names[n]
}
