package gateway

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// instant answers every call at once with the same words, so that what is left is the door.
type instant struct{ *entities }

func (instant) Do(call *actors.Call) {
	call.Reply(&skerryv1.Response{Response: &skerryv1.Response_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerResponse{
		Seq: 7, Durable: true, Replies: []*skerryv1.PlayerReply{{Reply: &skerryv1.PlayerReply_Balance{Balance: &skerryv1.Balance{Currency: skerryv1.Currency_COINS, Balance: 150}}}},
	}}}, nil)
}

// ready answers every call with the same response, so that not even making one counts.
type ready struct {
	*entities

	response *skerryv1.Response
}

func (r ready) Do(call *actors.Call) { call.Reply(r.response, nil) }

// BenchmarkStream is a request on a stream, many in a message, with entities that answer at once: client, protobuf and
// gRPC included. An operation is a request.
func BenchmarkStream(b *testing.B) {
	for _, perMessage := range []int{1, 16, 128} {
		b.Run("per-message="+strconv.Itoa(perMessage), func(b *testing.B) {
			r := start(b, func(o *Options) { o.Entities = instant{o.Entities.(*entities)} })
			stream, err := r.client.Stream(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			pump(b, stream, perMessage)
		})
	}
}

// pump sends b.N requests, at most 512 unanswered, and receives their answers.
func pump(b *testing.B, stream grpc.BidiStreamingClient[skerryv1.BatchRequest, skerryv1.BatchResponse], perMessage int) {
	b.Helper()
	message := &skerryv1.BatchRequest{}
	for range perMessage {
		message.Requests = append(message.Requests, earn("1001", "token-1", 1, 5))
	}
	places := make(chan struct{}, max(512/perMessage, 1)) // messages in flight
	b.ReportAllocs()
	b.ResetTimer()
	var sending sync.WaitGroup
	sending.Go(func() {
		for range (b.N + perMessage - 1) / perMessage {
			places <- struct{}{}
			if stream.Send(message) != nil {
				return
			}
		}
	})
	for received, freed := 0, 0; received < b.N; {
		answer, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		received += len(answer.GetResponses())
		for ; freed < received/perMessage; freed++ {
			<-places
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	for len(places) > 0 { // the last message may have been answered in part
		<-places
	}
	sending.Wait()
}

// BenchmarkEcho is what gRPC itself costs: a plain bidirectional stream with one small message each, answered as it is.
func BenchmarkEcho(b *testing.B) {
	server := grpc.NewServer(grpc.ForceServerCodecV2(grpccodec.New()))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "echo", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Echo", ClientStreams: true, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				message := &skerryv1.BatchRequest{}
				if err := stream.RecvMsg(message); err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
				if err := stream.SendMsg(&skerryv1.BatchResponse{Responses: []*skerryv1.Response{{Id: 1}}}); err != nil {
					return err
				}
			}
		}}},
	}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	b.Cleanup(func() { server.Stop(); serving.Wait() })
	conn := dial(b, listener.Addr().String())
	raw, err := conn.NewStream(b.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/echo/Echo")
	if err != nil {
		b.Fatal(err)
	}
	pump(b, &grpc.GenericClientStream[skerryv1.BatchRequest, skerryv1.BatchResponse]{ClientStream: raw}, 1)
}

// BenchmarkDispatch is what the door itself does with a request of a stream, without protobuf and gRPC: check, ask, put
// the answer in the outbox, take it, count it.
func BenchmarkDispatch(b *testing.B) {
	r := start(b, func(o *Options) { o.Entities = ready{o.Entities.(*entities), &skerryv1.Response{}} })
	st := &stream{service: r.service, conn: discard{}, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	st.mu.earliest = never
	var err error
	if st.caller, err = r.service.admit(b.Context()); err != nil {
		b.Fatal(err)
	}
	requests := make([]*skerryv1.Request, 128)
	for i := range requests {
		requests[i] = earn("1001", "token-1", 1, 5)
	}
	var spare []answered
	b.ReportAllocs()
	for b.Loop() {
		now := r.service.now()
		var slab []pending
		for _, request := range requests {
			if len(slab) == 0 {
				slab = make([]pending, pendingSlab)
			}
			if err := st.dispatch(&slab[0], request, now); err != nil {
				b.Fatal(err)
			}
			slab = slab[1:]
		}
		taken, _, _ := st.take(spare[:0])
		if err := st.send(taken); err != nil || len(taken) != len(requests) {
			b.Fatal(len(taken), err)
		}
		spare = taken
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(requests)), "ns/request")
}

// discard is a connection that takes everything at once.
type discard struct {
	grpc.BidiStreamingServer[skerryv1.BatchRequest, skerryv1.BatchResponse]
}

func (discard) Send(*skerryv1.BatchResponse) error { return nil }
