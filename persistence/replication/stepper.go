package replication

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/persistence"
)

// Stepper is a [Host] without goroutines, clock and network of its own: what its loop and its applier do when it is their
// turn is done when the caller says so. Simulations use it to put a seed in charge of the order. It belongs to one
// goroutine; the callbacks of Propose, Barrier and Ownership come from within its methods. An error of any method is the
// end, as one of [Host.Run] is: the process must end.
type Stepper struct {
	h       *Host
	batches [][]commit // committed, not applied
	wanted  []copyWanted
	writing bool // between Begin and Finish
}

// NewStepper opens a host as [Open] does. Do not call Run or Close of it.
func NewStepper(opts Options) (*Stepper, error) { return newStepper(opts, nil) }

func newStepper(opts Options, edit func(*Host, *replay) error) (*Stepper, error) {
	h, err := openEdited(opts, edit)
	if err != nil {
		return nil, err
	}
	s := &Stepper{h: h}
	h.handOn = func(batch []commit) { s.batches = append(s.batches, batch) }
	h.fetch = func(w copyWanted) { s.wanted = append(s.wanted, w) }
	h.started.Store(true)
	return s, h.core.campaign()
}

// Host is for Propose, Barrier, Receive, Suspect, HandOver and Status.
func (s *Stepper) Host() *Host { return s.h }

// Tick moves the host's clock by one TickInterval. Like everything but Propose, Barrier and Receive it must not be called
// between Begin and Finish: the loop waits for its fsync.
func (s *Stepper) Tick() error { return s.h.tick() }

// Begin looks at everything that came in, sends what may be sent before it is durable, and writes what must become so.
// It reports whether there was anything to do: then Finish must follow before the next Begin.
func (s *Stepper) Begin() (bool, error) {
	ctx := context.Background()
	if !s.h.core.busy() { // else the last Finish has more to say, before anything new is taken
		if err := s.h.listen(ctx); err != nil {
			return false, err
		}
		if s.h.admit() {
			s.h.queue.signal()
		}
	}
	if !s.h.core.busy() {
		return false, nil
	}
	s.writing = true
	return true, s.h.begin(ctx)
}

// Writing reports whether a Finish is due.
func (s *Stepper) Writing() bool { return s.writing }

// Finish syncs what Begin wrote and hands on what that allows.
func (s *Stepper) Finish() error {
	s.writing = false
	return s.h.finish(context.Background())
}

// Waiting is how many batches of committed entries wait for Apply.
func (s *Stepper) Waiting() int { return len(s.batches) }

// Apply applies the oldest batch and answers those who wait for it.
func (s *Stepper) Apply() error {
	if len(s.batches) == 0 {
		return nil
	}
	batch := s.batches[0]
	s.batches = s.batches[1:]
	s.h.applyAll(context.Background(), batch)
	return s.h.failed()
}

// Wanted is a copy that this node needs.
type Wanted struct {
	Partition persistence.Partition
	// Sources are who may have it: the leader that offered it, then the other voters.
	Sources []persistence.NodeID
	offer   copyWanted
}

// Wanted returns the copies that this node began to need since it was asked last. Each must be given to Copy or Uncopied.
func (s *Stepper) Wanted() []Wanted {
	list := make([]Wanted, len(s.wanted))
	for i, w := range s.wanted {
		list[i] = Wanted{s.h.partitions[w.slot], w.sources(), w}
	}
	s.wanted = nil
	return list
}

// Copy fetches a copy at once, from the first of the sources that has it, as [Host.Serve] and the copier do in their time. It
// must not be called between a source's Begin and Finish either. An error is the fetches': the leader offers the copy
// again.
func (s *Stepper) Copy(w Wanted, sources ...*Stepper) error {
	var failed []error
	for _, source := range sources {
		writer, err := s.copyFrom(w, source)
		if err == nil {
			s.h.feedback.add(feedback{slot: w.offer.slot, wanted: w.offer, writer: writer})
			return nil
		}
		failed = append(failed, err)
	}
	s.Uncopied(w)
	return errors.Join(failed...)
}

// Uncopied says that a copy could not be fetched.
func (s *Stepper) Uncopied(w Wanted) { s.h.feedback.add(feedback{slot: w.offer.slot, failed: true}) }

func (s *Stepper) copyFrom(w Wanted, source *Stepper) (persistence.CopyWriter, error) {
	from, ok := source.h.opts.StateMachine.(persistence.Copier)
	to, too := s.h.opts.StateMachine.(persistence.Copier)
	if !ok || !too || !source.h.core.hold(w.offer.slot, 1) {
		return nil, persistence.ErrNotOwner
	}
	defer source.h.core.hold(w.offer.slot, -1)
	if err := source.h.hasApplied(w.Partition, w.offer.index); err != nil {
		return nil, err
	}
	writer, err := to.CopyIn(w.Partition)
	if err != nil {
		return nil, err
	}
	if _, err = from.CopyOut(context.Background(), w.Partition, writer.Write); err != nil {
		return nil, errors.Join(err, writer.Abort())
	}
	return writer, nil
}

// Truncate drops what the state machine holds durably from the log, and prepares the next segment.
func (s *Stepper) Truncate() error { return s.h.shorten() }

// Stop gives up every partition, as the end of [Host.Run] does, without finishing what is on its way, and closes the files.
// A simulated crash does not call it: it goes on with a clone of the disk.
func (s *Stepper) Stop() error {
	s.h.queue.close()
	s.h.giveUp(context.Background())
	s.h.endHints()
	for _, batch := range s.batches {
		s.h.answerAll(batch, persistence.ErrOutcomeUnknown)
	}
	s.batches = nil
	return s.h.log.close()
}
