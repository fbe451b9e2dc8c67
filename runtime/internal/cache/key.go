package cache

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

const (
	// slots is to how many places tags are hashed. Two tags of one place make
	// each other's answers ones of the past, which costs a read and never tells
	// a lie. With 10,000 products, 6 in 10 share a place with nobody.
	slots = 1 << 14
	// maxTags is how many tags an answer has at most.
	maxTags = 4
)

// Key names an answer. Whoever asks for the same answer has the same Key.
type Key struct {
	id    id
	slots [maxTags]uint16
	tags  int
}

// id tells answers apart.
type id struct{ kind, name string }

// NewKey names the answer of a kind, which metrics are labelled with, by a name
// that holds everything that changes the answer. Tags are what the answer
// tells of; Invalidate with one of them makes it one of the past. An answer has
// one to four, and must have those of all that it is read from: also of what
// is not there yet.
func NewKey(kind, name string, tags ...string) Key {
	k := Key{id: id{kind, name}, tags: len(tags)}
	if len(tags) == 0 || len(tags) > maxTags {
		panic(fmt.Sprintf("cache: an answer with %d tags", len(tags)))
	}
	for i, tag := range tags {
		k.slots[i] = slotOf(tag)
	}
	return k
}

// places are those of the key's tags.
func (k *Key) places() []uint16 { return k.slots[:k.tags] }

func slotOf(tag string) uint16 { return uint16(xxhash.Sum64String(tag) % slots) }

// entry names it in Redis.
func (k *Key) entry() string { return "answer:" + k.id.kind + ":" + k.id.name }
