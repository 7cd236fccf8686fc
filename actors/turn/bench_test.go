package turn_test

import (
	"testing"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// BenchmarkEarn is one durable command with a full table of outcomes: Decide and Evolve.
func BenchmarkEarn(b *testing.B) {
	e := newEntity(b, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	req := by(s, 0, earn(1))
	request := &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: req}}
	env := e.env()
	run := func() {
		req.CommandId++
		env.Seq = persistence.Seq(e.state.GetSeq())
		result := turn.Decide(e.state, e.key, request, env)
		if result.Err != nil {
			b.Fatal(result.Err)
		}
		if err := turn.Evolve(e.state, env.Seq+1, result.Entry); err != nil {
			b.Fatal(err)
		}
	}
	for range turn.MaxOutcomes + 1 {
		run()
	}
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(len(e.state.GetOutcomes()))/float64(e.state.GetOutcomeCount()), "B/outcome")
}

// BenchmarkRetry finds the newest of a full table of outcomes.
func BenchmarkRetry(b *testing.B) {
	e := newEntity(b, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	for id := range int64(turn.MaxOutcomes) {
		if _, err := e.execute(by(s, id+1, earn(1))); err != nil {
			b.Fatal(err)
		}
	}
	request := &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: by(s, turn.MaxOutcomes, earn(1))}}
	env := e.env()
	b.ReportAllocs()
	for b.Loop() {
		if result := turn.Decide(e.state, e.key, request, env); result.Err != nil || result.Entry != nil {
			b.Fatal(result)
		}
	}
}

// BenchmarkDecode is what the outcome table adds to the decoding of an entity: hardly anything, since it stays packed.
func BenchmarkDecode(b *testing.B) {
	for name, outcomes := range map[string]int64{"outcomes=0": 0, "outcomes=128": turn.MaxOutcomes} {
		b.Run(name, func(b *testing.B) {
			e := newEntity(b, persistence.KindPlayer)
			s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
			for id := range outcomes {
				if _, err := e.execute(by(s, id+1, earn(1))); err != nil {
					b.Fatal(err)
				}
			}
			data, err := e.state.MarshalVT()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				e.state.Reset()
				if err := e.state.UnmarshalVT(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
