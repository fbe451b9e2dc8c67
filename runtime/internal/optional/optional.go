// Package optional goes between values and the pointers that stand for what
// may be left out, in the API's models and in nullable columns.
package optional

// Of is a pointer to v, or nil where v is the zero value.
func Of[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Value is what p points to, or the zero value where it is nil.
func Value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
