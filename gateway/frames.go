package gateway

import (
	"bytes"
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// gRPC answers a message that its codec cannot read by itself, with a status that has no code of ours in it. So this codec
// reads every message: one that is bad becomes an empty one with a mark, and the service answers it.

// maxFrameBytes is what gRPC reads: over maxMessageBytes, so that the refusal is ours and typed. Beyond, it is gRPC's.
const maxFrameBytes = 2 * maxMessageBytes

// The marks are unknown fields that no version will have: numbers 2^29-1 and 2^29-2, both of value 1.
var (
	markBroken = []byte{0xf8, 0xff, 0xff, 0xff, 0x0f, 0x01} //nolint:gochecknoglobals // never changed
	markLarge  = []byte{0xf0, 0xff, 0xff, 0xff, 0x0f, 0x01} //nolint:gochecknoglobals // never changed
)

// markingCodec is grpccodec's, which marks what it cannot read.
type markingCodec struct{ encoding.CodecV2 }

func newMarkingCodec() encoding.CodecV2 { return markingCodec{grpccodec.New()} }

// Unmarshal decodes data into v, or marks v.
func (c markingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	mark := markBroken
	switch size := data.Len(); {
	case size > maxMessageBytes:
		mark = markLarge
	case size > shallowBytes:
		whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer whole.Free()
		if !isShallow(whole.ReadOnlyData(), m.ProtoReflect().Descriptor(), codec.MaxDepth) {
			break
		}
		data = mem.BufferSlice{whole}
		fallthrough
	default:
		if c.CodecV2.Unmarshal(data, v) == nil {
			return nil
		}
	}
	proto.Reset(m)
	m.ProtoReflect().SetUnknown(mark)
	return nil
}

// shallowBytes is the size of a message in which messages may nest as they like: what they can take of the decoder's stack
// is a few megabytes. In 5 MiB it was measured to be hundreds, and seconds.
const shallowBytes = 64 << 10

// isShallow reports whether no message over shallowBytes in data, a message of this type, nests deeper than depth. It
// looks at nothing else: what is malformed is for the decoder to say.
func isShallow(data []byte, message protoreflect.MessageDescriptor, depth int) bool {
	if depth == 0 {
		return false
	}
	for len(data) > shallowBytes {
		number, wireType, n := protowire.ConsumeTag(data)
		if n < 0 {
			return true
		}
		data = data[n:]
		if wireType != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, wireType, data); n < 0 {
				return true
			}
			data = data[n:]
			continue
		}
		inner, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return true
		}
		data = data[n:]
		field := message.Fields().ByNumber(number)
		if len(inner) > shallowBytes && field != nil && field.Message() != nil && !isShallow(inner, field.Message(), depth-1) {
			return false
		}
	}
	return true
}

// checkFrame returns the refusal of a message that is marked.
func checkFrame(m proto.Message) error {
	switch unknown := m.ProtoReflect().GetUnknown(); {
	case len(unknown) == 0:
		return nil
	case bytes.Equal(unknown, markBroken):
		return refuse(errBadRequest, "", "the bytes are no "+string(m.ProtoReflect().Descriptor().Name()))
	case bytes.Equal(unknown, markLarge):
		return refuse(errTooLarge, "", "a message has at most 5 MiB")
	default:
		return nil
	}
}

// checkedService is the generated service, in which no call sees a message that is marked.
func checkedService() *grpc.ServiceDesc {
	desc := skerryv1.Skerry_ServiceDesc
	desc.Methods = append([]grpc.MethodDesc(nil), desc.Methods...)
	for i := range desc.Methods {
		handle := desc.Methods[i].Handler
		desc.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			return handle(srv, ctx, func(v any) error {
				if err := decode(v); err != nil {
					return err
				}
				if m, ok := v.(proto.Message); ok {
					if err := checkFrame(m); err != nil {
						return asStatus(err)
					}
				}
				return nil
			}, interceptor)
		}
	}
	return &desc
}
