package budget

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Any order of jobs put, merged and removed: the first is one that no other comes before, and there is one for each key.
func TestJobsAreTheObviousOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var jobs Jobs[int]
		want := map[int]Job[int]{}
		key := func(t *rapid.T) int { return rapid.IntRange(0, 12).Draw(t, "key") }
		take := func(t *rapid.T, got *Job[int], key int) {
			had, ok := want[key]
			delete(want, key)
			if ok != (got != nil) {
				t.Fatalf("removing %d: %v, want %v", key, got, ok)
			}
			if ok && (Job[int]{got.Key, got.Importance, got.Since, got.Tokens, 0} != had) {
				t.Fatalf("removing %d: %+v, want %+v", key, *got, had)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				job := Job[int]{
					Key: key(t), Importance: Importance(rapid.IntRange(0, 3).Draw(t, "importance")),
					Since: time.Duration(rapid.IntRange(0, 9).Draw(t, "since")), Tokens: rapid.Int64Range(1, 9).Draw(t, "tokens"),
				}
				jobs.Put(job)
				if had, ok := want[job.Key]; ok {
					job.Importance, job.Since = max(job.Importance, had.Importance), min(job.Since, had.Since)
				}
				want[job.Key] = job
			},
			"remove": func(t *rapid.T) {
				k := key(t)
				take(t, jobs.Remove(k), k)
			},
			"first": func(t *rapid.T) {
				if first := jobs.First(); first != nil {
					take(t, jobs.Remove(first.Key), first.Key)
				}
			},
			"": func(t *rapid.T) {
				first := jobs.First()
				if jobs.Len() != len(want) || (first == nil) != (len(want) == 0) {
					t.Fatalf("%d jobs, the first %v, want %d", jobs.Len(), first, len(want))
				}
				for _, other := range want {
					if other.Importance > first.Importance || (other.Importance == first.Importance && other.Since < first.Since) {
						t.Fatalf("%+v is the first, before %+v", *first, other)
					}
				}
			},
		})
	})
}
