package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echo is a gRPC stream that carries one small message each way per operation: what a plain gRPC service costs before it
// does anything. It runs in a process of its own, like a node.
type echo struct {
	program string
	server  processes
	conn    *grpc.ClientConn
}

var echoDesc = grpc.ServiceDesc{ //nolint:gochecknoglobals // immutable
	ServiceName: "echo",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{StreamName: "echo", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		for {
			var m wrapperspb.BytesValue
			if err := stream.RecvMsg(&m); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := stream.SendMsg(&m); err != nil {
				return err
			}
		}
	}}},
}

// ServeEcho is the echo's server: it prints its address to out and serves until ctx ends.
func ServeEcho(ctx context.Context, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&echoDesc, nil)
	if _, err = fmt.Fprintln(out, listener.Addr()); err != nil {
		return fmt.Errorf("say where the echo is: %w", err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		server.Stop()
	}()
	err = server.Serve(listener)
	<-stopped
	return err
}

// Name of the baseline.
func (*echo) Name() string { return "gRPC stream echo" }

// Does says that it stands beside changes.
func (*echo) Does(op Op, _ Way) bool { return op == Durable || op == Memory }

// PIDs are its server.
func (e *echo) PIDs() []int { return e.server.pids() }

// Start starts the server.
func (e *echo) Start(_ context.Context, dir string, _ int) error {
	addr, err := e.server.launchPrinting(dir, e.program, "echo")
	if err != nil {
		return err
	}
	e.conn, err = grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

// Run sends, and gets back.
func (e *echo) Run(ctx context.Context, _ Op, how Way, inflight int, duration time.Duration) (Window, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := e.conn.NewStream(ctx, &echoDesc.Streams[0], "/echo/echo")
	if err != nil {
		return Window{}, err
	}
	send := func(id uint64) error {
		payload := make([]byte, 50)
		payload[0], payload[1] = byte(id), byte(id>>8)
		return stream.SendMsg(&wrapperspb.BytesValue{Value: payload})
	}
	received := make(chan error, 1)
	receive := func(done func(id uint64)) { // ends when the stream does
		for {
			var m wrapperspb.BytesValue
			if end := stream.RecvMsg(&m); end != nil {
				received <- end
				return
			}
			done(uint64(m.Value[0]) | uint64(m.Value[1])<<8)
		}
	}
	var r Window
	if how == ByCallers {
		r, err = e.runCallers(ctx, inflight, duration, send, receive)
	} else {
		w := newWindow(inflight)
		go receive(w.done) // received waits for it
		r, err = w.drive(ctx, duration, send, func() error { return nil })
	}
	_ = stream.CloseSend()
	if end := <-received; err == nil && !errors.Is(end, io.EOF) {
		err = end
	}
	return r, err
}

// runCallers has one goroutine send what the callers ask, and one hand out the answers.
func (*echo) runCallers(
	ctx context.Context, inflight int, duration time.Duration, send func(uint64) error, receive func(func(uint64)),
) (Window, error) {
	answers := make([]chan struct{}, inflight)
	for i := range answers {
		answers[i] = make(chan struct{}, 1) // one question, one answer
	}
	asked, sent := make(chan uint64, inflight), make(chan error, 1)
	go func() { // ends when asked is closed
		var failed error
		for id := range asked {
			if failed == nil {
				failed = send(id)
			}
		}
		sent <- failed
	}()
	go receive(func(id uint64) { answers[id] <- struct{}{} }) // run waits for its end
	r, err := Callers(ctx, inflight, duration, func(number int) func(context.Context) error {
		return func(ctx context.Context) error {
			asked <- uint64(number) //nolint:gosec // not negative
			select {
			case <-answers[number]:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	close(asked)
	return r, errors.Join(err, <-sent)
}

// Stop ends the server.
func (e *echo) Stop(context.Context) error {
	if e.conn != nil {
		_ = e.conn.Close()
	}
	return e.server.stop()
}
