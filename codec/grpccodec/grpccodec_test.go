package grpccodec_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// batch is a message of many requests, with n bytes of text in it.
func batch(n int) *skerryv1.BatchRequest {
	return &skerryv1.BatchRequest{Requests: []*skerryv1.Request{{
		Id: 7, Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerRequest{
			Player: "1001", Session: "token", CommandId: 3, Receipt: strings.Repeat("r", n),
			Commands: []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_Earn{
				Earn: &skerryv1.Earn{Currency: skerryv1.Currency_COINS, Amount: 50},
			}}},
		}},
	}}}
}

// Goal: any protobuf peer understands the bytes, and the codec any protobuf peer's. Method: one side is plain protobuf.
func TestBytesArePlainProtobuf(t *testing.T) {
	codec := grpccodec.New()
	for name, want := range map[string]proto.Message{
		"empty": &skerryv1.GetClusterRequest{}, "small": batch(0), "pooled": batch(100_000),
		"no generated methods": structpb.NewStringValue(strings.Repeat("v", 10_000)),
	} {
		data, err := codec.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := want.ProtoReflect().New().Interface()
		if err = proto.Unmarshal(data.Materialize(), got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: encoded here, decoded plainly: %v", name, err)
		}
		data.Free()

		plain, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got = want.ProtoReflect().New().Interface()
		half := len(plain) / 2
		split := mem.BufferSlice{mem.SliceBuffer(plain[:half]), mem.SliceBuffer(plain[half:])}
		if err := codec.Unmarshal(split, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: encoded plainly, decoded here: %v", name, err)
		}
		clear(plain) // the next message comes in the same buffer
		if !proto.Equal(got, want) {
			t.Errorf("%s: shares memory with its bytes", name)
		}
	}
}

func TestUnmarshalReplacesWhatWasThere(t *testing.T) {
	codec := grpccodec.New()
	data, err := codec.Marshal(batch(1))
	if err != nil {
		t.Fatal(err)
	}
	got := batch(2)
	if err := codec.Unmarshal(data, got); err != nil || !proto.Equal(got, batch(1)) {
		t.Fatalf("%v (%v)", got, err)
	}
}

func TestRefusals(t *testing.T) {
	codec := grpccodec.New()
	if _, err := codec.Marshal("text"); err == nil {
		t.Error("a string was encoded")
	}
	if err := codec.Unmarshal(nil, new(string)); err == nil {
		t.Error("a string was decoded")
	}
	for _, m := range []proto.Message{&skerryv1.BatchRequest{}, &structpb.Value{}} {
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer{0xff}}, m); err == nil {
			t.Errorf("%T: broken bytes were decoded", m)
		}
	}
}

// echoServer answers a batch with one response of each request's id.
type echoServer struct {
	skerryv1.UnimplementedSkerryServer
}

func (echoServer) Batch(_ context.Context, in *skerryv1.BatchRequest) (*skerryv1.BatchResponse, error) {
	out := &skerryv1.BatchResponse{}
	for _, r := range in.GetRequests() {
		out.Responses = append(out.Responses, &skerryv1.Response{
			Id: r.GetId(), Error: &skerryv1.Error{Message: r.GetExecutePlayer().GetReceipt()},
		})
	}
	return out, nil
}

func TestServesOverGRPC(t *testing.T) {
	defer goleak.VerifyNone(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(grpccodec.New()))
	skerryv1.RegisterSkerryServer(server, echoServer{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	for name, options := range map[string][]grpc.DialOption{
		"this codec":  {grpc.WithDefaultCallOptions(grpc.ForceCodecV2(grpccodec.New()))},
		"gRPC's own":  nil,
		"the subtype": {grpc.WithDefaultCallOptions(grpc.CallContentSubtype(grpccodec.Name))},
	} {
		conn, err := grpc.NewClient(listener.Addr().String(),
			append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 100, 300_000} {
			out, err := skerryv1.NewSkerryClient(conn).Batch(t.Context(), batch(n))
			if err != nil || len(out.GetResponses()) != 1 || out.GetResponses()[0].GetId() != 7 ||
				len(out.GetResponses()[0].GetError().GetMessage()) != n {
				t.Errorf("%s, %d bytes: %.100v, %v", name, n, out, err)
			}
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
