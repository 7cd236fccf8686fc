package budget

import (
	"container/heap"
	"time"
)

// Job is a save that waits for tokens.
type Job[K comparable] struct {
	Key        K
	Importance Importance
	// Since is when the oldest change happened that it would save.
	Since time.Duration
	// Tokens is what it may cost at most.
	Tokens int64

	index int
}

// Jobs is what has to be saved, the most important first, then the oldest. There is one for each key.
type Jobs[K comparable] struct {
	order order[K]
	byKey map[K]*Job[K]
}

// Put adds a job. One of the same key is merged: the greater importance, the older change, the newer cost.
func (j *Jobs[K]) Put(job Job[K]) {
	if had := j.byKey[job.Key]; had != nil {
		had.Importance = max(had.Importance, job.Importance)
		had.Since = min(had.Since, job.Since)
		had.Tokens = job.Tokens
		heap.Fix(&j.order, had.index)
		return
	}
	if j.byKey == nil {
		j.byKey = map[K]*Job[K]{}
	}
	j.byKey[job.Key] = &job
	heap.Push(&j.order, &job)
}

// First is the next job; nil: there is none.
func (j *Jobs[K]) First() *Job[K] {
	if len(j.order) == 0 {
		return nil
	}
	return j.order[0]
}

// Remove takes a key's job out; nil: there is none.
func (j *Jobs[K]) Remove(key K) *Job[K] {
	job := j.byKey[key]
	if job != nil {
		heap.Remove(&j.order, job.index)
		delete(j.byKey, key)
	}
	return job
}

// Len is how many jobs there are.
func (j *Jobs[K]) Len() int { return len(j.order) }

// order is a heap.
type order[K comparable] []*Job[K]

func (o order[K]) Len() int { return len(o) }

func (o order[K]) Less(a, b int) bool {
	if o[a].Importance != o[b].Importance {
		return o[a].Importance > o[b].Importance
	}
	return o[a].Since < o[b].Since
}

func (o order[K]) Swap(a, b int) {
	o[a], o[b] = o[b], o[a]
	o[a].index, o[b].index = a, b
}

func (o *order[K]) Push(job any) {
	added := job.(*Job[K]) //nolint:forcetypeassert // heap.Interface: only Jobs pushes
	added.index = len(*o)
	*o = append(*o, added)
}

func (o *order[K]) Pop() any {
	last := len(*o) - 1
	job := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return job
}
