package node

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// Goal: /debug/replicas shows every replica of the node, and a change of one entity in the digest of its partition.
func TestDigestsShowEveryChange(t *testing.T) {
	config := testConfig()
	r, err := run(t, config, pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	players, _ := makePlayers(t, r.dial(t, client.Options{}), 1)
	digests := func() map[persistence.Partition]ReplicaDigest {
		t.Helper()
		transport := &http.Transport{DisableKeepAlives: true}
		res, err := (&http.Client{Transport: transport}).Get("http://" + r.ready.Admin + "/debug/replicas")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var list []ReplicaDigest
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list) != config.Partitions+1 {
			t.Fatalf("%d replicas of %d partitions and the meta partition: %v", len(list), config.Partitions, err)
		}
		digests := map[persistence.Partition]ReplicaDigest{}
		for _, d := range list {
			digests[d.Partition] = d
		}
		return digests
	}
	before := digests()
	if _, err := players[0].Earn(t.Context(), client.Coins, 1); err != nil {
		t.Fatal(err)
	}
	changed := persistence.PartitionOf(persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "0"}, config.Partitions)
	after := digests()
	if after[changed].Digest == before[changed].Digest || after[changed].Applied <= before[changed].Applied {
		t.Errorf("partition %d: %+v before a change, %+v after it", changed, before[changed], after[changed])
	}
}
