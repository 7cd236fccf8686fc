package node

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// copiesAtOnce is how many entities are read and written at a time: enough to keep the log's fsyncs full.
	copiesAtOnce = 64
	// progressEvery is the time between two messages of progress.
	progressEvery = 200 * time.Millisecond
)

// CopySpace copies the documents of all players of one space, as they are journaled, into another, which must be empty.
// Sessions, command ids and receipts are not copied. An error leaves a part behind: erase the copy and begin again.
func (a *admin) CopySpace(ctx context.Context, from, to string, progress func(*skerryv1.SpaceProgress) error) error {
	for _, kind := range []persistence.Kind{persistence.KindPlayer, persistence.KindWorld} {
		if n, err := a.count(ctx, to, kind); err != nil {
			return err
		} else if n > 0 {
			return fmt.Errorf("space %s has %d %ss: %w", to, n, kind, turn.ErrAlreadyExists)
		}
	}
	total, err := a.count(ctx, from, persistence.KindPlayer)
	if err != nil {
		return err
	}
	if total == 0 {
		return fmt.Errorf("players of space %s: %w", from, turn.ErrNotFound)
	}
	var done int64
	told := time.Now()
	count := func(players int) error {
		done += int64(players)
		if players == 0 || time.Since(told) < progressEvery {
			return nil
		}
		told = time.Now()
		return progress(&skerryv1.SpaceProgress{Done: done, Total: max(total, done)})
	}
	if err = a.partitions(func(p persistence.Partition) error { return a.copyPartition(ctx, p, from, to, count) }); err != nil {
		return err
	}
	return progress(&skerryv1.SpaceProgress{Done: done, Total: max(total, done)})
}

// copyPartition has the owner of a partition copy its players, page by page.
func (a *admin) copyPartition(ctx context.Context, p persistence.Partition, from, to string, count func(players int) error) error {
	for after := ""; ; {
		answer, err := a.node.list(ctx, p, &peerv1.Ask{Ask: &peerv1.Ask_Copy{Copy: &peerv1.CopyPlayers{
			From: from, To: to, After: after, Limit: copyPage,
		}}})
		if err != nil {
			return fmt.Errorf("copy the players of partition %d: %w", p, err)
		}
		ids := answer.GetNames()
		if err := count(len(ids)); err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
	}
}

// copyPage is how many players one question copies: it is answered within a moment.
const copyPage = 256

// copyPlayers copies a page of the players that this node owns, and returns their ids.
func (a *admin) copyPlayers(ctx context.Context, p persistence.Partition, m *peerv1.CopyPlayers) ([]string, error) {
	ids, err := a.node.store.Entities(ctx, p, m.GetFrom(), persistence.KindPlayer, m.GetAfter(), int(min(m.GetLimit(), copyPage)))
	if err != nil {
		return nil, err
	}
	group, copying := errgroup.WithContext(ctx)
	group.SetLimit(copiesAtOnce)
	for _, id := range ids {
		group.Go(func() error { return a.copyPlayer(copying, p, id, m.GetFrom(), m.GetTo()) })
	}
	return ids, group.Wait()
}

// copyPlayer writes one player's document as the first entry of a new player. Whoever makes the same player meanwhile has
// the seq: then this fails, and nothing of theirs is lost.
func (a *admin) copyPlayer(ctx context.Context, p persistence.Partition, id, from, to string) error {
	key := persistence.Key{Space: from, Kind: persistence.KindPlayer, ID: id}
	entity, err := a.read(ctx, p, key)
	if err != nil {
		return fmt.Errorf("copy %s: %w", key, err)
	}
	if entity.GetPlayer() == nil {
		return nil // only ever refused commands
	}
	data, err := codec.EncodeEntry(&storev1.Entry{
		TimeMs:       entity.GetNewestTimeMs(),
		PlayerEvents: []*storev1.PlayerEvent{{Event: &storev1.PlayerEvent_Created{Created: entity.GetPlayer()}}},
	})
	if err != nil {
		return fmt.Errorf("copy %s: %w", key, err)
	}
	key.Space = to
	err = a.node.proposeAt(ctx, persistence.PartitionOf(key, a.node.store.Partitions()), &persistence.Change{
		Key: key, Entries: []persistence.Entry{{Seq: 1, Data: data}},
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

// read returns an entity as it is stored, without making it live.
func (a *admin) read(ctx context.Context, p persistence.Partition, key persistence.Key) (*storev1.Entity, error) {
	found, err := a.node.store.Load(ctx, p, key)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	entity := &storev1.Entity{}
	defaults := a.node.config.rulesOf(key.Space).Defaults()
	if found.Snapshot.Seq != 0 {
		if entity, err = codec.DecodeEntity(found.Snapshot.Data); err != nil {
			return nil, fmt.Errorf("snapshot %d: %w", found.Snapshot.Seq, err)
		}
		if err = codec.Migrate(entity.GetPlayer(), defaults); err != nil {
			return nil, fmt.Errorf("snapshot %d: %w", found.Snapshot.Seq, err)
		}
	}
	for _, line := range found.Entries {
		entry, err := codec.DecodeEntry(line.Data)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", line.Seq, err)
		}
		if err := codec.MigrateEntry(entry, defaults); err != nil {
			return nil, fmt.Errorf("entry %d: %w", line.Seq, err)
		}
		if err := turn.Evolve(entity, line.Seq, entry); err != nil {
			return nil, fmt.Errorf("entry %d: %w", line.Seq, err)
		}
	}
	return entity, nil
}

// EraseSpace removes everything of a space, partition by partition; each owner lets go of what is in memory of it. Progress
// counts partitions. An error leaves a part behind: erase again.
func (a *admin) EraseSpace(ctx context.Context, space string, progress func(*skerryv1.SpaceProgress) error) error {
	total := int64(a.node.store.Partitions())
	return a.partitions(func(p persistence.Partition) error {
		if err := a.node.proposeAt(ctx, p, &persistence.Change{EraseSpace: space}); err != nil {
			return fmt.Errorf("erase space %s in partition %d: %w", space, p, err)
		}
		return progress(&skerryv1.SpaceProgress{Done: int64(p) + 1, Total: total})
	})
}
