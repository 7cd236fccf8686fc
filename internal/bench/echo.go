package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echo is a gRPC stream that carries one small message each way per operation: what a plain gRPC service costs before it
// does anything. It runs in a process of its own, like a node.
type echo struct {
	how  way
	cmd  *exec.Cmd
	conn *grpc.ClientConn
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

func serveEcho(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&echoDesc, nil)
	fmt.Println(listener.Addr())
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

func (*echo) name() string { return "gRPC stream echo" }

func (e *echo) way() way { return e.how }

func (e *echo) start(_ context.Context, _ string, _ int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	e.cmd = exec.Command(self, "-serve-echo")
	e.cmd.Stderr = os.Stderr
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := e.cmd.Start(); err != nil {
		return err
	}
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		return err
	}
	e.conn, err = grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

func (e *echo) run(ctx context.Context, inflight int, duration time.Duration) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := e.conn.NewStream(ctx, &echoDesc.Streams[0], "/echo/echo")
	if err != nil {
		return result{}, err
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
			if err := stream.RecvMsg(&m); err != nil {
				received <- err
				return
			}
			done(uint64(m.Value[0]) | uint64(m.Value[1])<<8)
		}
	}
	before := cpuOf(e.cmd.Process.Pid)
	var r result
	if e.how == byCallers {
		r, err = e.runCallers(ctx, inflight, duration, send, receive)
	} else {
		w := newWindow(inflight)
		go receive(w.done) // received waits for it
		r, err = w.drive(ctx, duration, send, func() error { return nil })
	}
	r.cpu = cpuOf(e.cmd.Process.Pid) - before
	_ = stream.CloseSend()
	if end := <-received; err == nil && !errors.Is(end, io.EOF) {
		err = end
	}
	return r, err
}

// runCallers has one goroutine send what the callers ask, and one hand out the answers.
func (*echo) runCallers(
	ctx context.Context, inflight int, duration time.Duration, send func(uint64) error, receive func(func(uint64)),
) (result, error) {
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
	r, err := callers(ctx, inflight, duration, func(number int) func(context.Context) error {
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

func (e *echo) stop(context.Context) error {
	_ = e.conn.Close()
	_ = e.cmd.Process.Signal(syscall.SIGINT)
	return e.cmd.Wait()
}
