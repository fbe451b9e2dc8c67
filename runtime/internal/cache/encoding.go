package cache

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encodings are those of RFC 9110 and RFC 8878 that answers are sent in, the
// best first: where a caller takes several as gladly, the first of them is sent.
var encodings = [...]struct {
	name     string
	compress func([]byte) []byte
}{
	{"zstd", func(body []byte) []byte { return zstandard().EncodeAll(body, nil) }},
	{"br", writing(func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, brotliLevel) })},
	{"gzip", writing(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })},
}

// brotliLevel is where it is about as quick as gzip, and sends less.
const brotliLevel = 4

// zstandard is one encoder for all: EncodeAll may be called by many at once.
var zstandard = sync.OnceValue(func() *zstd.Encoder {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2))
	if err != nil { // these options are valid
		panic(err)
	}
	return encoder
})

func writing(open func(io.Writer) io.WriteCloser) func([]byte) []byte {
	return func(body []byte) []byte {
		var out bytes.Buffer
		out.Grow(len(body) / 2)
		w := open(&out)
		_, _ = w.Write(body) // a buffer takes everything
		_ = w.Close()
		return bytes.Clone(out.Bytes()) // without what the buffer has to spare
	}
}

// accepted is the encoding that Accept-Encoding asks for most, -1 for none.
func accepted(headers []string) int {
	best, weight := -1, 0.0
	for i := range encodings {
		if q := quality(headers, encodings[i].name); q > weight {
			best, weight = i, q
		}
	}
	return best
}

// quality is how gladly an encoding is taken, 0 for not at all.
func quality(headers []string, name string) float64 {
	others := 0.0 // what * says
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			coding, parameters, weighed := strings.Cut(part, ";")
			coding = strings.TrimSpace(coding)
			q := 1.0
			if weighed {
				var err error
				value, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q=")
				if q, err = strconv.ParseFloat(value, 64); !ok || err != nil {
					q = 0
				}
			}
			if strings.EqualFold(coding, name) {
				return q
			}
			if coding == "*" {
				others = q
			}
		}
	}
	return others
}
