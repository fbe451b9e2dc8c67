package cache

// NewKept is an answer as it is kept.
func NewKept(body []byte) *Answer { return newKept(body) }
