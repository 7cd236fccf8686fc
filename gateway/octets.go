package gateway

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// A chunk as bytes: GET with "Accept: application/octet-stream" answers with the encoded column alone, PUT with that
// content type takes one. Both are the JSON calls in other clothes: the middleware changes the request, the marshaler the
// answer.

const mimeOctets = "application/octet-stream"

// The calls that can be in bytes.
const (
	getChunkPath = "GET /v1/worlds/{world=*}/chunks/{x=*}/{z=*}"
	putChunkPath = "PUT /v1/worlds/{world=*}/chunks/{x=*}/{z=*}"
	// putOctetsPath stands for putChunkPath with bytes; only then the rest of the request is in the query.
	putOctetsPath = putChunkPath + " " + mimeOctets
)

// asOctets returns r as the JSON call behind it, and which one it is. Only a chunk is ever answered in bytes.
func asOctets(r *http.Request, route string) (*http.Request, string) {
	takes := mimeOf(r.Header.Get("Content-Type")) == mimeOctets
	wants := wantsOctets(r.Header.Values("Accept"))
	if !takes && !wants {
		return r, route
	}
	if takes && route == putChunkPath {
		route = putOctetsPath
	}
	ctx := r.Context()
	if wants = wants && route == getChunkPath; wants {
		ctx = context.WithValue(ctx, octets{}, true)
	}
	r = r.Clone(ctx)
	r.Header.Del("Accept")
	r.Header.Set("Content-Type", "application/json")
	if wants {
		r.Header.Set("Accept", mimeOctets)
		if r.URL.RawQuery == "" { // else the query is checked, and says the form itself
			r.URL.RawQuery = "form=ENCODED"
		}
	}
	return r, route
}

// octets is the context's key for a request whose answer is in bytes.
type octets struct{}

func inOctets(ctx context.Context) bool { return ctx.Value(octets{}) != nil }

// checkColumn refuses to answer in bytes with a chunk that has none.
func checkColumn(chunk *skerryv1.ChunkData) error {
	switch {
	case len(chunk.GetEncoded()) > 0:
		return nil
	case chunk.GetState() == skerryv1.ChunkState_FULL:
		return asStatus(refuse(errBadRequest, "form", "must be ENCODED, or left out, of a chunk in bytes"))
	default:
		return asStatus(refuse(errNotFound, "", "the chunk is "+chunk.GetState().String()+": it has no column; ask for it as JSON"))
	}
}

func wantsOctets(accept []string) bool {
	for _, line := range accept {
		for one := range strings.SplitSeq(line, ",") {
			if mimeOf(one) == mimeOctets {
				return true
			}
		}
	}
	return false
}

// mimeOf is a media type without its parameters; "" when it is none.
func mimeOf(text string) string {
	kind, _, err := mime.ParseMediaType(strings.TrimSpace(text))
	if err != nil {
		return ""
	}
	return kind
}

// wrapOctets makes the JSON body of a PUT in bytes: the chunk, with what its query says.
func wrapOctets(r *http.Request, column []byte) ([]byte, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(column) == 0 {
		return nil, refuse(errBadRequest, "chunk.encoded", "is missing: the body is empty")
	}
	type chunk struct {
		Encoded []byte `json:"encoded"`
	}
	return json.Marshal(struct {
		Chunk      chunk  `json:"chunk"`
		Durability string `json:"durability,omitempty"`
		As         string `json:"as,omitempty"`
	}{chunk{column}, query.Get("durability"), query.Get("as")})
}

// octetMarshaler answers with a chunk's column, and with JSON where there is none to answer with.
type octetMarshaler struct{ marshaler }

// ContentType is that of what Marshal makes of v.
func (octetMarshaler) ContentType(v any) string {
	if _, ok := v.(*skerryv1.GetChunkResponse); ok {
		return mimeOctets
	}
	return "application/json"
}

// Marshal returns the column of a chunk, which has one.
func (m octetMarshaler) Marshal(v any) ([]byte, error) {
	if read, ok := v.(*skerryv1.GetChunkResponse); ok {
		return read.GetChunk().GetEncoded(), nil
	}
	return m.marshaler.Marshal(v)
}
