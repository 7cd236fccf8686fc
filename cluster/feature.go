package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	featureRecords = "feature/" // the level of a node's build, as last seen
	levelRecord    = "level"    // the cluster's

	// firstLevel is that of builds and clusters that say none.
	firstLevel = 1
)

// ErrTooOld says that this node's build is older than what its cluster may have written. Nothing was changed here; start a newer build.
var ErrTooOld = errors.New("this build is older than what its cluster writes")

// FeatureLevel is the newest form in which this node may write: the least level that all nodes' builds had, those that are away
// counted as they were seen last. It never falls. It may lag behind what holds, which is harmless: what is old is read by everybody.
func (c *Cluster) FeatureLevel() uint32 {
	if k := c.known.Load(); k != nil {
		return k.featureLevel()
	}
	return firstLevel
}

func (k *known) featureLevel() uint32 { return max(k.level, firstLevel) }

// feature is the level of a node's build, as last seen.
func (k *known) feature(id persistence.NodeID) uint32 { return max(k.features[id], firstLevel) }

// tooOld says why a build may not be in the cluster; "" when it may.
func (k *known) tooOld(feature uint32) string {
	if feature = max(feature, firstLevel); feature < k.featureLevel() {
		return fmt.Sprintf("the cluster writes at feature level %d, this build reads %d: start a newer build", k.featureLevel(), feature)
	}
	return ""
}

func (k *known) addFeature(n uint32, value []byte) error {
	level := &storev1.Level{}
	if err := proto.Unmarshal(value, level); err != nil {
		return err
	}
	k.features[persistence.NodeID(n)] = level.GetLevel()
	return nil
}

// readLevel reads the cluster's level; 0 when there is no record.
func (c *Cluster) readLevel(ctx context.Context) (uint32, error) {
	records, err := c.opts.Records.Records(ctx, levelRecord, 1)
	if err != nil || len(records) == 0 || records[0].Name != levelRecord {
		return 0, err
	}
	level := &storev1.Level{}
	if err := proto.Unmarshal(records[0].Value, level); err != nil {
		return 0, fmt.Errorf("record %q: %w", levelRecord, err)
	}
	return level.GetLevel(), nil
}

// noteFeatures writes down the levels of the builds that are there, and then raises the cluster's level to the least of all nodes
// that were not removed. Only the planner calls it, who admits nodes too: none comes in between.
func (c *Cluster) noteFeatures(ctx context.Context, k *known) error {
	seen := map[persistence.NodeID]uint32{}
	for _, m := range c.members() {
		if m.Node != 0 && m.Cluster == c.opts.Self.Cluster {
			seen[m.Node] = m.Feature
		}
	}
	seen[c.opts.Self.Node] = c.opts.Self.Feature
	least := uint32(0)
	for id, n := range k.nodes {
		if n.GetRemoved() {
			continue
		}
		level := k.feature(id)
		if now, here := seen[id]; here && max(now, firstLevel) != level {
			level = max(now, firstLevel)
			if err := c.put(ctx, recordName(featureRecords, uint32(id)), &storev1.Level{Level: level}); err != nil {
				return err
			}
		}
		if least == 0 || level < least {
			least = level
		}
	}
	if least <= k.featureLevel() {
		return nil
	}
	if err := c.put(ctx, levelRecord, &storev1.Level{Level: least}); err != nil {
		return err
	}
	c.log.LogAttrs(ctx, slog.LevelInfo, "feature level raised: older builds cannot come back", slog.Uint64("level", uint64(least)))
	return nil
}
