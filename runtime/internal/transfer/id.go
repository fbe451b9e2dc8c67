package transfer

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// IDAt is a new id of a moment after 1970, so that what is listed by ids is in
// the order in which it was made, wherever that was.
func IDAt(t time.Time) uuid.UUID {
	id := uuid.Must(uuid.NewV7())
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(t.UnixMilli()))
	copy(id[:6], millis[2:])
	return id
}
