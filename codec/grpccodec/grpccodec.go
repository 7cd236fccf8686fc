// Package grpccodec is the protobuf codec of Skerry's gRPC: the generated vtprotobuf methods where a message has them,
// plain protobuf for any other message (health checks, reflection), in pooled buffers. Any protobuf client understands
// the bytes. Pass [New] to grpc.ForceServerCodecV2 on a server and to grpc.ForceCodecV2 in a client's call options.
//
// # What it does not promise
//
// The generated decoders do not check that strings are UTF-8, and not how deep a google.protobuf.Value nests: who
// receives a message from outside does both (codec.CheckText). Maps are encoded in no particular order.
package grpccodec

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Name is the content subtype that the codec answers to: gRPC's own name for protobuf.
const Name = "proto"

// New returns the codec. It is safe for many goroutines. It retains no message, and a decoded message shares no memory
// with the bytes it came from.
func New() encoding.CodecV2 { return protoCodec{pool: mem.DefaultBufferPool()} }

type protoCodec struct{ pool mem.BufferPool }

// vtMessage is what vtprotobuf generates.
type vtMessage interface {
	proto.Message
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
	UnmarshalVT(data []byte) error
}

// Name is "proto".
func (protoCodec) Name() string { return Name }

// Marshal returns v encoded, in one buffer that gRPC gives back to the pool once it is sent. It returns an error when v
// is not a proto.Message or cannot be encoded. Nobody may change v meanwhile.
func (c protoCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case vtMessage:
		return c.marshal(v, m.SizeVT(), func(data []byte) error {
			_, err := m.MarshalToSizedBufferVT(data)
			return err
		})
	case proto.Message:
		return c.marshal(v, proto.Size(m), func(data []byte) error {
			_, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(data[:0], m)
			return err
		})
	default:
		return nil, fmt.Errorf("encode %T: not a protobuf message", v)
	}
}

// marshal has fill write exactly size bytes.
func (c protoCodec) marshal(v any, size int, fill func([]byte) error) (mem.BufferSlice, error) {
	if mem.IsBelowBufferPoolingThreshold(size) {
		data := make([]byte, size)
		if err := fill(data); err != nil {
			return nil, fmt.Errorf("encode %T: %w", v, err)
		}
		return mem.BufferSlice{mem.SliceBuffer(data)}, nil
	}
	data := c.pool.Get(size)
	if err := fill((*data)[:size]); err != nil {
		c.pool.Put(data)
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return mem.BufferSlice{mem.NewBuffer(data, c.pool)}, nil
}

// Unmarshal decodes data into v in place of what v held. It returns an error when v is not a proto.Message, or the bytes
// are not a message of its kind; v may then hold a part.
func (c protoCodec) Unmarshal(data mem.BufferSlice, v any) error {
	buf := data.MaterializeToBuffer(c.pool)
	defer buf.Free()
	var err error
	switch m := v.(type) {
	case vtMessage:
		proto.Reset(m)                          // the generated method would merge
		err = m.UnmarshalVT(buf.ReadOnlyData()) // copies what it keeps
	case proto.Message:
		err = proto.Unmarshal(buf.ReadOnlyData(), m)
	default:
		return fmt.Errorf("decode %T: not a protobuf message", v)
	}
	if err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}
