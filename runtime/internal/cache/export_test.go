package cache

import "strconv"

// NewKept is an answer as it is kept.
func NewKept(body []byte) *Answer { return newKept(body) }

// Places are the fields in Redis of a key's tags.
func Places(key Key) (fields []string) {
	for _, place := range key.places() {
		fields = append(fields, strconv.Itoa(int(place)))
	}
	return fields
}
