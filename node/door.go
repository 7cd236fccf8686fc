package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
)

// ErrOpenDoor says that the node would listen beyond this machine while no API key exists.
var ErrOpenDoor = errors.New("everybody who reaches this machine could do everything")

// private reports whether only this machine reaches the API.
func (n *Node) private() bool { return onLoopback(n.config.HTTP) && onLoopback(n.config.GRPC) }

// openDoor listens on every port, and checks what can be checked without the store.
func (n *Node) openDoor() error {
	if n.config.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(n.config.TLSCert, n.config.TLSKey); err != nil {
			return fmt.Errorf("tls-cert, tls-key: %w", err)
		}
	}
	if err := n.checkPeerDoor(); err != nil {
		return err
	}
	if !n.private() && !n.config.Insecure {
		store := filepath.Join(n.config.Data, storeDir)
		if _, err := n.opts.FS.Stat(store); errors.Is(err, os.ErrNotExist) { // no store, so no keys
			return n.isOpen()
		}
	}
	return n.listen()
}

// checkPeerDoor returns ErrOpenDoor when whoever reaches this machine could pose as a node.
func (n *Node) checkPeerDoor() error {
	c := &n.config
	if c.Insecure || onLoopback(c.Peer) && onLoopback(c.Gossip) || c.PeerCert != "" && c.GossipKey != "" {
		return nil
	}
	return fmt.Errorf("%w: it listens for other nodes on %s and %s. Give all nodes peer-cert, peer-key and peer-ca, and a gossip-key-file, or start "+
		"them with --insecure on a network that nobody else reaches", ErrOpenDoor, c.Peer, c.Gossip)
}

func (n *Node) listen() error {
	for _, l := range []struct {
		name, addr string
		at         *net.Listener
	}{
		{"http", n.config.HTTP, &n.listeners.HTTP},
		{"grpc", n.config.GRPC, &n.listeners.GRPC},
		{"admin", n.config.Admin, &n.listeners.Admin},
		{"peer", n.config.Peer, &n.listeners.peer},
	} {
		listener, err := net.Listen("tcp", l.addr)
		if err != nil {
			return fmt.Errorf("listen for %s (another address: --%s HOST:PORT, port 0 picks a free one): %w", l.name, l.name, err)
		}
		*l.at = listener
	}
	return nil
}

// checkKeys is requireKey before anything is claimed, when the store has applied all that the log says of keys.
func (n *Node) checkKeys() error {
	status := n.journal.Status()
	if meta := status[len(status)-1]; meta.Applied < meta.Last {
		return nil // requireKey is asked again when the rest is applied
	}
	return n.requireKey(context.Background())
}

// requireKey returns ErrOpenDoor when anybody could do anything, and nobody asked for that.
func (n *Node) requireKey(ctx context.Context) error {
	if n.private() || n.config.Insecure {
		return nil
	}
	keys, err := n.store.Records(ctx, "key/", 1)
	switch {
	case err != nil:
		return fmt.Errorf("look for API keys: %w", err)
	case len(keys) == 0:
		return n.isOpen()
	}
	return nil
}

// isOpen is ErrOpenDoor with what to do.
func (n *Node) isOpen() error {
	return fmt.Errorf("%w: it listens on %s and %s, and no API key exists. Make the first one with "+
		"`skerry key create --name operator --scopes admin,operate --all-spaces` while the node listens on 127.0.0.1 only, "+
		"or start it with --insecure", ErrOpenDoor, n.config.HTTP, n.config.GRPC)
}

// warn says what is open on purpose. The keys are known by now: only an insecure node has none beyond this machine.
func (n *Node) warn(ctx context.Context) {
	if n.config.Autosave == naive {
		n.log.LogAttrs(ctx, slog.LevelWarn, "autosave is naive: for comparison only, a crash loses what was not saved")
	}
	if !onLoopback(n.config.Admin) {
		n.log.LogAttrs(ctx, slog.LevelWarn, "the admin port has no keys and is reachable from other machines", slog.String("admin", n.config.Admin))
	}
	if n.private() || !n.config.Insecure {
		return
	}
	if keys, err := n.store.Records(ctx, "key/", 1); err == nil && len(keys) == 0 {
		n.log.LogAttrs(ctx, slog.LevelWarn, "no API key exists and the API is reachable from other machines: everybody may do everything")
	}
}
