package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// alpn keeps a connection between nodes from meeting another server that has a certificate of the same authority.
const alpn = "skerry-peers"

// pieceBytes is the most that is written with one deadline, so that a slow connection is not taken for a dead one.
const pieceBytes = 64 << 10

// stream is one connection. Each Read, and each 64 KiB of Write, has timeout of its own once greeted. One goroutine may read
// while another writes.
type stream struct {
	raw     net.Conn // what is closed: closing TLS would first wait to say farewell
	conn    net.Conn // what is read and written: raw, or TLS on it
	timeout time.Duration
	address string // where it was dialled
	peer    hello  // what the other side said of itself
}

func (s *stream) Read(b []byte) (int, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(s.timeout)); err != nil {
		return 0, err
	}
	return s.conn.Read(b)
}

func (s *stream) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
			return written, err
		}
		n, err := s.conn.Write(b[:min(len(b), pieceBytes)])
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// waitLost returns when the other side, which has nothing more to say on this stream, is gone. It must be the only reader.
func (s *stream) waitLost() {
	if s.conn.SetReadDeadline(time.Time{}) != nil {
		return
	}
	var one [1]byte
	_, _ = io.ReadFull(s.conn, one[:]) // a byte where none is allowed is a loss too
}

// name is the DNS name that the certificate of a node must bear.
func (t *TLS) name(node persistence.NodeID) string {
	return "node-" + strconv.FormatUint(uint64(node), 10) + "." + t.Domain
}

// config is the TLS of one connection.
func (t *TLS) config() (*tls.Config, error) {
	certificate, err := t.Certificate()
	if err != nil {
		return nil, fmt.Errorf("certificate of this node: %w", err)
	}
	roots, err := t.Roots()
	if err != nil {
		return nil, fmt.Errorf("certificates of the authorities: %w", err)
	}
	if certificate == nil || roots == nil {
		return nil, errors.New("certificate or roots are missing")
	}
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  []string{alpn},
		Certificates:                []tls.Certificate{*certificate},
		RootCAs:                     roots,
		ClientCAs:                   roots,
		ClientAuth:                  tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled:      true, // each connection is verified anew
		DynamicRecordSizingDisabled: true, // whole records at once
	}, nil
}

// dialled greets the peer on a new connection; its deadline is set.
func (p *Peers) dialled(ctx context.Context, s *stream, mine *hello, address string) error {
	s.conn = s.raw
	if p.opts.TLS != nil {
		config, err := p.opts.TLS.config()
		if err != nil {
			return err
		}
		config.ServerName = p.opts.TLS.name(mine.to)
		secure := tls.Client(s.raw, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS with node %d: %w", mine.to, err)
		}
		s.conn = secure
	}
	if _, err := s.conn.Write(mine.encode(magicHello)); err != nil {
		return fmt.Errorf("greet node %d: %w", mine.to, err)
	}
	answer, err := readHello(s.conn, magicAnswer, mine.lowest, mine.highest)
	if errors.Is(err, errOtherVersion) {
		return &VersionError{mine.to, mine.lowest, mine.highest, answer.lowest, answer.highest}
	}
	if err != nil {
		return fmt.Errorf("answer of node %d: %w", mine.to, err)
	}
	if err := p.opts.check(&answer, mine.to, address); err != nil {
		return err
	}
	s.peer = answer
	return s.conn.SetDeadline(time.Time{})
}

// secured does the listening side of TLS, if there is any; the connection's deadline is set.
func (p *Peers) secured(ctx context.Context, s *stream) error {
	s.conn = s.raw
	if p.opts.TLS == nil {
		return nil
	}
	config, err := p.opts.TLS.config()
	if err != nil {
		return err
	}
	secure := tls.Server(s.raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	s.conn = secure
	return nil
}

// bears says whether the certificate shown on s is one of node.
func (p *Peers) bears(s *stream, node persistence.NodeID) bool {
	if p.opts.TLS == nil {
		return true
	}
	secure, ok := s.conn.(*tls.Conn)
	if !ok {
		return false
	}
	shown := secure.ConnectionState().PeerCertificates
	return len(shown) > 0 && shown[0].VerifyHostname(p.opts.TLS.name(node)) == nil
}
