package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// fakeNode answers what its test tells it to; nil is no answer.
type fakeNode struct {
	skerryv1.UnimplementedSkerryServer
	answer func(*skerryv1.Request) *skerryv1.Response
	events chan *skerryv1.ServerEvent

	addr   string
	server *grpc.Server

	mu       sync.Mutex
	messages []int // how many requests each message had
	header   metadata.MD
	refuse   error // streams end with it at once
	cut      chan struct{}
	routes   *skerryv1.Routes   // for streams that ask
	feeds    map[*fakeFeed]bool // open streams that asked
	watches  []int64            // after which event each watch began

	unwatched bool // watches are refused
	opened    int  // streams
}

// fakeFeed is one stream's sending side.
type fakeFeed struct {
	sync.Mutex
	stream grpc.BidiStreamingServer[skerryv1.BatchRequest, skerryv1.BatchResponse]
}

func (f *fakeFeed) send(out *skerryv1.BatchResponse) error {
	f.Lock()
	defer f.Unlock()
	return f.stream.Send(out)
}

// tell sends routes to every stream that asked, now and when it is opened.
func (f *fakeNode) tell(routes *skerryv1.Routes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes = routes
	for feed := range f.feeds {
		_ = feed.send(&skerryv1.BatchResponse{Routes: routes}) // it may have ended
	}
}

func startFake(tb testing.TB, answer func(*skerryv1.Request) *skerryv1.Response) *fakeNode {
	tb.Helper()
	f := &fakeNode{answer: answer, events: make(chan *skerryv1.ServerEvent, 16), cut: make(chan struct{})}
	f.listen(tb, "127.0.0.1:0")
	return f
}

// listen begins to serve, until stop or the end of the test.
func (f *fakeNode) listen(tb testing.TB, addr string) {
	tb.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	f.addr = listener.Addr().String()
	server := grpc.NewServer(grpc.ForceServerCodecV2(grpccodec.New()))
	f.server = server
	skerryv1.RegisterSkerryServer(server, f)
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() { server.Stop(); served.Wait() })
}

// ended is how a stream ends when the client is done with it.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// cutStreams breaks every open stream, with what new ones are refused with.
func (f *fakeNode) cutStreams() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.cut)
	f.cut = make(chan struct{})
}

func (f *fakeNode) seen() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int(nil), f.messages...)
}

func (f *fakeNode) setRefuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *fakeNode) Stream(stream grpc.BidiStreamingServer[skerryv1.BatchRequest, skerryv1.BatchResponse]) error {
	f.mu.Lock()
	cut, refuse := f.cut, f.refuse
	f.opened++
	f.header, _ = metadata.FromIncomingContext(stream.Context())
	feed := &fakeFeed{stream: stream}
	if len(f.header.Get("skerry-routes")) > 0 && refuse == nil {
		if f.feeds == nil {
			f.feeds = make(map[*fakeFeed]bool)
		}
		f.feeds[feed] = true
		if f.routes != nil {
			_ = feed.send(&skerryv1.BatchResponse{Routes: f.routes})
		}
	}
	f.mu.Unlock()
	defer f.forget(feed)
	if refuse != nil {
		return refuse
	}
	received := make(chan error, 1)
	go func() { // ends with the stream, which ends when Stream returns
		for {
			batch, err := stream.Recv()
			if err != nil {
				received <- err
				return
			}
			f.mu.Lock()
			f.messages = append(f.messages, len(batch.GetRequests()))
			f.mu.Unlock()
			out := &skerryv1.BatchResponse{}
			for _, req := range batch.GetRequests() {
				if response := f.answer(req); response != nil {
					response.Id = req.GetId()
					out.Responses = append(out.Responses, response)
				}
			}
			if len(out.GetResponses()) > 0 {
				if err := feed.send(out); err != nil {
					received <- err
					return
				}
			}
		}
	}()
	select {
	case <-cut:
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.refuse != nil {
			return f.refuse
		}
		return status.Error(codes.Unavailable, "cut by the test")
	case err := <-received:
		return ended(err)
	}
}

// say answers a request on every stream.
func (f *fakeNode) say(response *skerryv1.Response, to *skerryv1.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	response.Id = to.GetId()
	for feed := range f.feeds {
		_ = feed.send(&skerryv1.BatchResponse{Responses: []*skerryv1.Response{response}}) // it may have ended
	}
}

func (f *fakeNode) forget(feed *fakeFeed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.feeds, feed)
}

// ListPlayers does not answer.
func (f *fakeNode) ListPlayers(ctx context.Context, _ *skerryv1.ListPlayersRequest) (*skerryv1.ListPlayersResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (f *fakeNode) WatchServer(req *skerryv1.WatchServerRequest, stream grpc.ServerStreamingServer[skerryv1.ServerEvent]) error {
	f.mu.Lock()
	f.watches = append(f.watches, req.GetAfter())
	unwatched := f.unwatched
	f.mu.Unlock()
	if unwatched {
		return status.Error(codes.Unavailable, "refused by the test")
	}
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case event := <-f.events:
			if err := stream.Send(event); err != nil {
				return err
			}
		}
	}
}

// echo answers every request with success; earning yields its amount as the balance.
func echo(req *skerryv1.Request) *skerryv1.Response {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_OpenPlayerSession:
		return &skerryv1.Response{Response: &skerryv1.Response_OpenPlayerSession{OpenPlayerSession: &skerryv1.OpenPlayerSessionResponse{
			Session: "token-" + r.OpenPlayerSession.GetPlayer(), IsNew: true, Seq: 1,
			Player: &skerryv1.Player{Name: r.OpenPlayerSession.GetName()},
		}}}
	case *skerryv1.Request_ExecutePlayer:
		return earned(r.ExecutePlayer)
	case *skerryv1.Request_RegisterServer:
		return &skerryv1.Response{Response: &skerryv1.Response_RegisterServer{
			RegisterServer: &skerryv1.RegisterServerResponse{Incarnation: "i1"},
		}}
	case *skerryv1.Request_HeartbeatServer:
		return &skerryv1.Response{Response: &skerryv1.Response_HeartbeatServer{HeartbeatServer: &skerryv1.HeartbeatServerResponse{}}}
	case *skerryv1.Request_CloseServer:
		return &skerryv1.Response{Response: &skerryv1.Response_CloseServer{CloseServer: &skerryv1.CloseServerResponse{}}}
	case *skerryv1.Request_EndPlayerSession:
		return &skerryv1.Response{Response: &skerryv1.Response_EndPlayerSession{EndPlayerSession: &skerryv1.EndPlayerSessionResponse{}}}
	case *skerryv1.Request_GetPlayer:
		return &skerryv1.Response{Response: &skerryv1.Response_GetPlayer{GetPlayer: &skerryv1.GetPlayerResponse{
			Player: &skerryv1.Player{Name: "refreshed"}, Seq: 7,
		}}}
	default:
		return &skerryv1.Response{Error: &skerryv1.Error{Code: "UNIMPLEMENTED"}}
	}
}

func earned(req *skerryv1.ExecutePlayerRequest) *skerryv1.Response {
	reply := &skerryv1.ExecutePlayerResponse{Seq: req.GetCommandId(), Durable: true}
	for _, command := range req.GetCommands() {
		reply.Replies = append(reply.Replies, &skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_Balance{
			Balance: &skerryv1.Balance{Currency: command.GetEarn().GetCurrency(), Balance: command.GetEarn().GetAmount()},
		}})
	}
	return &skerryv1.Response{Response: &skerryv1.Response_ExecutePlayer{ExecutePlayer: reply}}
}

func no(code string, retryable bool, outcome client.Outcome) *skerryv1.Response {
	return &skerryv1.Response{Error: &skerryv1.Error{Code: code, Retryable: retryable, Outcome: outcome}}
}

func dial(tb testing.TB, f *fakeNode, opts client.Options) *client.Client {
	tb.Helper()
	if opts.RetryMax == 0 {
		opts.RetryMax = 20 * time.Millisecond
	}
	c, err := client.Dial(context.Background(), f.addr, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

func openPlayer(tb testing.TB, c *client.Client, id string) *client.Player {
	tb.Helper()
	p, err := c.OpenPlayer(context.Background(), id, client.OpenOptions{Server: "s1", Name: "Ann"})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func earn(amount int64) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: client.Coins, Amount: amount}}}
}

// listenSilently accepts connections and says nothing.
func listenSilently(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		var open []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			open = append(open, conn)
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	})
	tb.Cleanup(func() { _ = listener.Close(); accepting.Wait() })
	return listener.Addr().String()
}
