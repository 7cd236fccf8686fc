package node

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// identityFile says whose data directory it is in. It is written whole, and synced, before anything of the cluster is used.
const identityFile = "identity"

// maxIdentityBytes is more than any identity has.
const maxIdentityBytes = 4 << 10

// readIdentity returns what is in the file, nil when there is none.
func readIdentity(fs pebblestore.FS, dir string) (*storev1.Identity, error) {
	path := filepath.Join(dir, identityFile)
	data, err := readAll(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // a new directory has none
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	frame, err := codec.OpenFrame(data)
	if err == nil && frame.Format != codec.FormatRecord {
		err = codec.ErrMalformed
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not verify; without it nobody knows which node of which cluster this directory is: %w", path, err)
	}
	payload, err := frame.Payload(nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	id := &storev1.Identity{}
	if err := proto.Unmarshal(payload, id); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return id, nil
}

// readAll reads a small file.
func readAll(fs pebblestore.FS, path string) ([]byte, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxIdentityBytes))
	return data, errors.Join(err, file.Close())
}

// writeIdentity writes the file beside the old one and puts it in its place, durably.
func writeIdentity(fs pebblestore.FS, dir string, id *storev1.Identity) error {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(id)
	if err != nil {
		return fmt.Errorf("encode the identity: %w", err)
	}
	data, err := codec.AppendFrame(nil, codec.FormatRecord, codec.Plain, payload)
	if err != nil {
		return fmt.Errorf("encode the identity: %w", err)
	}
	path := filepath.Join(dir, identityFile)
	if err := writeDurably(fs, dir, path, data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeDurably(fs pebblestore.FS, dir, path string, data []byte) error {
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	file, err := fs.Create(path+".new", "skerry-identity")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = fs.Rename(path+".new", path); err != nil {
		return err
	}
	parent, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// newIdentity is that of a directory that was not used yet: it has a nonce, and belongs to no cluster.
func newIdentity() (*storev1.Identity, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	return &storev1.Identity{Nonce: binary.LittleEndian.Uint64(b[:]) | 1}, nil
}

// found makes the identity that of the first node of a new cluster.
func found(id *storev1.Identity) error {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("draw the cluster's id: %w", err)
	}
	id.Cluster, id.Node = hex.EncodeToString(b[:]), 1
	return nil
}

// identify says who this node is: what its directory says, else the first node of a new cluster, or what the cluster that it
// joins says.
func (n *Node) identify() error {
	id, err := readIdentity(n.opts.FS, n.config.Data)
	if err != nil {
		return err
	}
	if id.GetRecovering() {
		return fmt.Errorf("data directory %s: %w", n.config.Data, ErrRecovering)
	}
	known, asked := id.GetNode() != 0, id != nil
	if id == nil {
		if id, err = newIdentity(); err != nil {
			return err
		}
		if _, err := n.opts.FS.Stat(n.path(storeDir)); err == nil { // of a version that knew no cluster: it is the first node of one
			if err := found(id); err != nil {
				return err
			}
		}
		id.Partitions = uint32(n.config.Partitions) //nolint:gosec // validated: at most 4096
	}
	n.identity = id
	if known {
		return nil
	}
	switch joins := len(n.config.joins()) > 0; {
	case id.GetNode() != 0 || joins:
	case asked:
		return fmt.Errorf("data directory %s was made to join a cluster and was not admitted yet: --join is missing", n.config.Data)
	default:
		if err := found(id); err != nil {
			return err
		}
	}
	// One that is not admitted yet asks with the same nonce again when this process ends before it is answered.
	return writeIdentity(n.opts.FS, n.config.Data, id)
}
