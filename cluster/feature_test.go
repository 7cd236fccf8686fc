package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// Goal: nothing newer is written than what every node reads, also those that are away, and no build is in the cluster that does
// not read what may have been written.
// Method: node 1 is of level 2, the others come, go, and come back with other builds.

// of makes a member one of a build of another level.
func of(m members.Member, feature uint32) members.Member {
	m.Feature = feature
	return m
}

// wantLevel lets time pass and compares.
func (f *fake) wantLevel(when string, want uint32) {
	f.t.Helper()
	time.Sleep(10 * time.Second)
	if got := f.cluster.FeatureLevel(); got != want {
		f.t.Errorf("%s: level %d, want %d", when, got, want)
	}
}

func TestFeatureLevelIsTheLeastOfAll(t *testing.T) {
	inBubble(t, false, func(f *fake) {
		f.cluster.opts.Self.Feature = 2
		f.knows(1, 2, 3)
		f.comes(of(node(2, members.Active), 1))
		f.comes(of(node(3, members.Active), 0)) // of a build that says none
		stop := f.run()
		f.wantLevel("two of three are old", 1)
		f.comes(of(node(2, members.Active), 2))
		f.wantLevel("one of three is old", 1)
		f.goes("n3")
		f.wantLevel("the old one is away", 1)
		if old := f.asks("n4", 44); old.GetRefused() != "" || old.GetNode() != 4 {
			f.t.Errorf("an old build is answered %v while the level is 1", old)
		}
		f.comes(of(node(3, members.Active), 2))
		f.wantLevel("a new node has not said what it is", 1)
		f.comes(of(node(4, members.Active), 2))
		f.wantLevel("all are new", 2)
		if old := f.asks("n5", 55); !strings.Contains(old.GetRefused(), "start a newer build") {
			f.t.Errorf("an old build is answered %v", old)
		}
		f.comes(of(node(2, members.Active), 1))
		f.wantLevel("one came back with an old build", 2)
		if err := stop(); err != nil {
			f.t.Error(err)
		}
	})
}

func TestRemovedNodesDoNotHoldTheLevel(t *testing.T) {
	inBubble(t, false, func(f *fake) {
		f.cluster.opts.Self.Feature = 2
		f.knows(1)
		f.enter(&storev1.Node{Id: 2, Name: "n2", Nonce: 22, Removed: true})
		stop := f.run()
		f.wantLevel("the old one was removed", 2)
		if err := stop(); err != nil {
			f.t.Error(err)
		}
	})
}

func TestOldBuildEnds(t *testing.T) {
	inBubble(t, false, func(f *fake) {
		t := f.t
		f.knows(1)
		level, err := proto.Marshal(&storev1.Level{Level: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Put(t.Context(), levelRecord, level); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.cluster.Run(ctx); !errors.Is(err, ErrTooOld) || !strings.Contains(err.Error(), "feature level 2") {
			t.Errorf("it ended with %v", err)
		}
	})
}
