package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Server is the front door of one node.
type Server struct {
	service *service
	grpc    *grpc.Server
	http    *http.Server
	admin   *http.Server
	tls     *tls.Config // nil: plain
}

// Listeners are where a [Server] listens; Serve closes them. Any may be nil.
type Listeners struct {
	GRPC net.Listener
	HTTP net.Listener
	// Admin is health, metrics and profiles, without keys and TLS: for the operator's network only.
	Admin net.Listener
}

// New returns a server that listens nowhere yet. Its errors are problems of the options, or files that cannot be read.
func New(opts Options) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	s := &service{
		opts: opts, started: time.Now(), draining: make(chan struct{}), opened: make(chan struct{}, 1),
		keys:     keyring{admin: opts.Admin, maxAge: opts.KeysMaxAge, logger: opts.Logger, changing: make(chan struct{}, 1)},
		limiters: limiters{perSecond: rate.Limit(opts.RequestsPerSecond), burst: opts.Burst},
	}
	s.mu.streams = map[*stream]struct{}{}
	var err error
	if s.metrics, err = newMetrics(opts.Registry, s.unsent); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	handler, err := newHTTPHandler(s)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	server := &Server{service: s, http: newHTTPServer(handler, opts.Logger), admin: newHTTPServer(newAdminHandler(s), opts.Logger)}
	if opts.Certificate != "" {
		cert, err := newCertificate(opts.Certificate, opts.PrivateKey, opts.Logger)
		if err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		server.tls = cert.config()
	}
	server.grpc = newGRPCServer(s, server.tls)
	return server, nil
}

// newGRPCServer bounds what a connection may take, and notices the dead ones.
func newGRPCServer(s *service, secure *tls.Config) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newMarkingCodec()),
		grpc.MaxRecvMsgSize(maxFrameBytes),
		grpc.MaxConcurrentStreams(1024),
		grpc.InitialWindowSize(1 << 20),
		grpc.InitialConnWindowSize(4 << 20),
		grpc.ReadBufferSize(64 << 10),
		grpc.WriteBufferSize(64 << 10),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	}
	if secure != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secure.Clone())))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(checkedService(), s)
	return server
}

// Serve serves until ctx ends, then drains: nothing new is accepted, what was accepted is answered, for at most
// DrainTimeout; streams and connections are closed when their last answer is out. It returns nil after a drain, else why a
// listener failed; either way, when everything it started has ended. To be called once.
func (s *Server) Serve(ctx context.Context, at Listeners) error {
	failed := make(chan error, 3) // one for each listener
	var serving, sweeping sync.WaitGroup
	serve := func(name string, listener net.Listener, run func(net.Listener) error) {
		if listener == nil {
			return
		}
		serving.Go(func() {
			if err := run(listener); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				failed <- fmt.Errorf("serve %s at %s: %w", name, listener.Addr(), err)
			}
		})
	}
	sweepContext, stopSweeping := context.WithCancel(context.WithoutCancel(ctx))
	sweeping.Go(func() { s.service.sweep(sweepContext) })
	serve("gRPC", at.GRPC, func(l net.Listener) error {
		return s.grpc.Serve(netutil.LimitListener(l, s.service.opts.MaxConnections))
	})
	serve("HTTP", at.HTTP, func(l net.Listener) error {
		l = netutil.LimitListener(l, s.service.opts.MaxConnections)
		if s.tls == nil {
			return s.http.Serve(l)
		}
		s.http.TLSConfig = s.tls.Clone()
		return s.http.ServeTLS(l, "", "")
	})
	serve("admin", at.Admin, s.admin.Serve)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.drain(context.WithoutCancel(ctx))
	serving.Wait()
	s.service.readers.Wait()
	stopSweeping()
	sweeping.Wait()
	return err
}

// drain stops accepting, waits for what is unanswered within DrainTimeout, and closes everything, the admin port last.
func (s *Server) drain(ctx context.Context) {
	log := s.service.opts.Logger
	log.LogAttrs(ctx, slog.LevelInfo, "front door drains", slog.Float64("requests", s.service.unsent()))
	ctx, cancel := context.WithTimeout(ctx, s.service.opts.DrainTimeout)
	defer cancel()
	close(s.service.draining)

	var closing sync.WaitGroup
	closing.Go(func() {
		if err := s.http.Shutdown(ctx); err != nil {
			_ = s.http.Close()
		}
	})
	stopped := make(chan struct{})
	closing.Go(func() {
		s.grpc.GracefulStop() // says goodbye to the clients, and waits for their calls
		close(stopped)
	})
	select {
	case <-stopped:
	case <-ctx.Done():
		log.LogAttrs(ctx, slog.LevelWarn, "front door closes with requests unanswered", slog.Float64("requests", s.service.unsent()))
		s.grpc.Stop()
	}
	closing.Wait()
	_ = s.admin.Close() // nobody waits for a profile
	log.LogAttrs(ctx, slog.LevelInfo, "front door closed")
}
