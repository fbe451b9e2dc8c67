package websocket

import (
	"encoding/binary"
	"io"

	"github.com/gobwas/ws"
)

// readHeader reads a frame's header and tells its size; io.ErrUnexpectedEOF is
// one that is not all there. The library reads from an io.Reader, which would
// cost memory for each frame.
func readHeader(in []byte) (h ws.Header, size int, err error) {
	if len(in) < 2 {
		return h, 0, io.ErrUnexpectedEOF
	}
	h.Fin, h.Rsv, h.OpCode = in[0]&0x80 != 0, in[0]&0x70>>4, ws.OpCode(in[0]&0x0f)
	h.Masked, size = in[1]&0x80 != 0, 2
	length := in[1] & 0x7f
	extra := 0
	switch length {
	case 126:
		extra = 2
	case 127:
		extra = 8
	}
	if h.Masked {
		extra += 4
	}
	if len(in) < size+extra {
		return h, 0, io.ErrUnexpectedEOF
	}
	switch length {
	case 126:
		h.Length, size = int64(binary.BigEndian.Uint16(in[2:])), 4
	case 127:
		long := binary.BigEndian.Uint64(in[2:])
		if long>>63 != 0 {
			return h, 0, ws.ErrHeaderLengthMSB
		}
		h.Length, size = int64(long), 10
	default:
		h.Length = int64(length)
	}
	if h.Masked {
		size += copy(h.Mask[:], in[size:])
	}
	return h, size, nil
}
