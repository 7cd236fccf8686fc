package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// The ways in which a recovery, or a node after half of one, is refused. Nothing was changed.
var (
	// ErrNothingToRecover: no other node has a vote, so a start is all that is needed.
	ErrNothingToRecover = errors.New("no other node has copies: there is nothing to recover, start the node")
	// ErrNotHere: partitions have no copy in the directory, and would never be served again.
	ErrNotHere = errors.New("not every partition has a copy here")
	// ErrRecovering: a recovery of the directory was begun and did not end. It has to be repeated before a node can run on it.
	ErrRecovering = errors.New("a recovery of this data directory was begun and did not end; repeat `skerry cluster recover --force`")
)

// Recovery is what [Recover] found, and did when Done.
type Recovery struct {
	Cluster string
	Node    persistence.NodeID
	// Generation is the cluster's after the recovery: nodes of an older one are fenced.
	Generation uint32
	Partitions []replication.Alone // by partition, the meta partition last
	// Names are those of the nodes, as far as this directory knows them.
	Names map[persistence.NodeID]string
	Done  bool
}

// Recover makes the node of a data directory the sole voter of every partition, because the majority of the others is lost for ever.
// Without force it changes nothing, and says what it would do. Everything in the directory counts as acknowledged afterwards; what only
// the others had is lost, and they are fenced if they come back: the generation is raised. It may be repeated after an error or
// a crash; in between no node runs on the directory ([ErrRecovering]). It returns [ErrNoData], [pebblestore.ErrLocked] when a
// node runs on the directory, [ErrNothingToRecover], or [ErrNotHere], with what was found.
func Recover(ctx context.Context, fs pebblestore.FS, data string, force bool, logger *slog.Logger) (Recovery, error) {
	id, err := readIdentity(fs, data)
	if err != nil {
		return Recovery{}, err
	}
	if _, err = fs.Stat(filepath.Join(data, storeDir)); errors.Is(err, os.ErrNotExist) || id != nil && id.GetNode() == 0 {
		return Recovery{}, fmt.Errorf("%w: %s holds no node that was admitted to a cluster", ErrNoData, data)
	}
	if id == nil { // of a version that knew no cluster
		return Recovery{}, fmt.Errorf("data directory %s: %w", data, ErrNothingToRecover)
	}
	recovery, err := survey(ctx, fs, data, id)
	if err != nil {
		return recovery, fmt.Errorf("data directory %s: %w", data, err)
	}
	if err := recovery.sensible(id); err != nil || !force {
		return recovery, err
	}
	begun := proto.CloneOf(id)
	begun.Recovering = true
	if err := writeIdentity(fs, data, begun); err != nil { // until the generation is raised, no node runs here
		return recovery, err
	}
	if err := recoverAlone(fs, data, id, recovery.Generation, logger); err != nil { //nolint:contextcheck // the store's own goroutines have no caller
		return recovery, fmt.Errorf("data directory %s: %w", data, err)
	}
	done := proto.CloneOf(id)
	done.Generation, done.Recovering = recovery.Generation, false
	if err := writeIdentity(fs, data, done); err != nil {
		return recovery, err
	}
	recovery.Done = true
	return recovery, nil
}

// sensible says why a recovery makes no sense.
func (r *Recovery) sensible(id *storev1.Identity) error {
	missing, others := 0, false
	for _, p := range r.Partitions {
		if !p.Here {
			missing++
		}
		others = others || len(p.Others) > 0
	}
	switch {
	case missing > 0:
		return fmt.Errorf("%w: %d of %d are not; look in the directories of other nodes, or go back to a backup", ErrNotHere, missing, len(r.Partitions))
	case !others && !id.GetRecovering():
		return ErrNothingToRecover
	default:
		return nil
	}
}

// survey looks at store and log, and changes nothing.
func survey(ctx context.Context, fs pebblestore.FS, data string, id *storev1.Identity) (_ Recovery, err error) {
	r := Recovery{
		Cluster: id.GetCluster(), Node: persistence.NodeID(id.GetNode()), Generation: id.GetGeneration() + 1,
		Names: map[persistence.NodeID]string{},
	}
	store, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: filepath.Join(data, storeDir), ReadOnly: true}) //nolint:contextcheck // the store's own goroutines have no caller
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	records, err := store.Records(ctx, "node/", maxNamedNodes)
	if err != nil {
		return r, err
	}
	for _, record := range records {
		n := &storev1.Node{}
		if proto.Unmarshal(record.Value, n) == nil { // a name is a nicety
			r.Names[persistence.NodeID(n.GetId())] = n.GetName()
		}
	}
	r.Partitions, err = replication.SurveyAlone(logOf(fs, data, id, store, nil))
	return r, err
}

// maxNamedNodes is more than a cluster ever had.
const maxNamedNodes = 1 << 16

// logOf is how the log of a directory is opened by who does not serve.
func logOf(fs pebblestore.FS, data string, id *storev1.Identity, store *pebblestore.Store, logger *slog.Logger) replication.Options {
	defaults := DefaultConfig()
	return replication.Options{
		FS: fs, Dir: filepath.Join(data, logDir), Partitions: store.Partitions(), StateMachine: store, Logger: logger,
		Node: persistence.NodeID(id.GetNode()), Voters: []persistence.NodeID{1},
		SegmentBytes: int64(defaults.LogSegment), MaxLogBytes: int64(defaults.LogMax),
	}
}

// recoverAlone changes store and log.
func recoverAlone(fs pebblestore.FS, data string, id *storev1.Identity, generation uint32, logger *slog.Logger) (err error) {
	store, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: filepath.Join(data, storeDir), Partitions: int(id.GetPartitions()), Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	opts := logOf(fs, data, id, store, logger)
	opts.Generation = generation
	_, err = replication.RecoverAlone(opts)
	return err
}

// Lost names the nodes that have copies and are given up, by what they were called.
func (r *Recovery) Lost() []string {
	var names []string
	for _, p := range r.Partitions {
		for _, id := range p.Others {
			if name := r.NameOf(id); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// NameOf is a node's name, or its id where the directory knows none.
func (r *Recovery) NameOf(id persistence.NodeID) string {
	if name := r.Names[id]; name != "" {
		return name
	}
	return fmt.Sprintf("node %d", id)
}
