package actors

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// Options configure a [Host]. Journal, Storage, Partitions and Describe must be set; every other zero value is right.
type Options struct {
	// Journal takes the entries and snapshots of the partitions that this node owns.
	Journal persistence.Journal
	// Storage is what activations load from.
	Storage persistence.Storage
	// Partitions is the number fixed when the cluster was made, 1 to 4096.
	Partitions int
	// Rules returns the rules of a space. Nil, or a nil result, means the defaults. Called in every turn: make it cheap.
	Rules func(space string) *player.Rules
	// Describe turns a refusal into what the wire shows; it is remembered with the outcome.
	Describe func(error) *skerryv1.Error
	// Logger hears of ownership, life cycle and trouble, never of single commands. Default: silence.
	Logger *slog.Logger
	// Events hear the same, for metrics.
	Events Events

	// AutosaveInterval is the longest time for which an event stays without a snapshot. Shorter means faster activation
	// after a crash and more disk writes. Default: 5 minutes.
	AutosaveInterval time.Duration
	// Naive saves as games without such a store do, for comparison only: everything dirty at once in each AutosaveInterval, each save a request
	// of its own in its server's queue, dropped until the next interval when that is full; one after another at shutdown. MEMORY events are in
	// memory alone until a save or a durable command: there is no journal interval.
	Naive bool
	// JournalInterval is the longest time for which a MEMORY command's event stays out of the journal, before the append
	// itself. Shorter loses less in a crash and writes more often. Default: 1 second.
	JournalInterval time.Duration
	// PassivateAfter is how long an activation stays in memory without a call. Default: 10 minutes.
	PassivateAfter time.Duration
	// EncodeIdleAfter is how long an activation keeps its entity decoded without a call. Shorter saves memory and costs a
	// decoding (some microseconds) at the next call. Default: 30 seconds.
	EncodeIdleAfter time.Duration
	// WorldRules returns the rules of a space's worlds; as Rules.
	WorldRules func(space string) *world.Rules
	// WorldMemoryBytes is how much memory the chunks of one world may take; beyond it the least recently used are
	// forgotten, saved ones at once and others after their save. Less saves memory and loads more. Default: 64 MiB.
	WorldMemoryBytes int64
	// MemoryLimitBytes bounds the sum of the held entities' encoded sizes; beyond it the least recently used are
	// passivated. The heap is larger: see DESIGN.md. Default: no bound.
	MemoryLimitBytes int64

	// ServerTimeout is how long a game server may be silent, without a heartbeat or any request with one of its sessions,
	// until it counts as dead and its sessions end with a save. Default: 30 seconds.
	ServerTimeout time.Duration
	// FeatureLevel returns the newest form in which may be written now; the rules choose by it, and what is newer all the same is refused
	// with [ErrTooNew]. Called in every turn: make it cheap. Default: 1.
	FeatureLevel func() uint32
	// Forms are what is newer than the first level. Default: those of this build.
	Forms codec.Forms
	// Router passes calls to entities on whatever node: servers are asked and sessions ended through it. Default: the host
	// itself, which is right for a node that owns everything.
	Router Router
	// Partners are the other nodes' hosts. Default: none, which is right for a node that owns everything.
	Partners Partners

	// Minute is how long a minute of game servers' budgets lasts. Shorter makes budgets larger: it is for load tests, together with
	// shorter intervals. Default: 1 minute.
	Minute time.Duration
	// BudgetClock, when set, is the clock of budgets instead, on which a minute is 60 s, whatever Minute is. It must not run backwards.
	BudgetClock func() time.Duration

	// Faults switch off what a test wants to see missed. Never set them elsewhere.
	Faults Faults

	// MailboxSize is how many calls may wait for one entity; more get [ErrMailboxFull]. Default: 256.
	MailboxSize int
	// MaxCalls is how many calls may wait on this node; more get [ErrOverloaded]. Default: 16,384.
	MaxCalls int
	// MaxLoads is how many entities are loaded at the same time. Default: 32.
	MaxLoads int
	// Tries is how often a load or a save is tried before it counts as failed. Default: 3.
	Tries int
	// RetryBase is the pause after the first failed try; it doubles with each further one, with jitter. Default: 1 second.
	RetryBase time.Duration
}

// Faults are mechanisms that a test switches off, to see that others notice.
type Faults struct {
	// NoLimiter grants every token at once.
	NoLimiter bool
	// NoDedupe does not look whether a command was answered before.
	NoDedupe bool
}

// Events are told what happens; each may be nil. They are called from many goroutines and must not block.
type Events struct {
	// Activated: an entity is live now; loading it took so long. isNew means that it was proven absent.
	Activated func(key persistence.Key, took time.Duration, isNew bool)
	// Passivated: the activation ended, for a reason of a fixed few words.
	Passivated func(key persistence.Key, reason string)
	// LoadFailed: one try of a load failed; final says that the callers were told.
	LoadFailed func(key persistence.Key, err error, final bool)
	// Saved: a snapshot of so many bytes was accepted, so long after it was begun.
	Saved func(key persistence.Key, bytes int, took time.Duration)
	// SaveFailed: one try of a snapshot failed; final says that the next interval tries again.
	SaveFailed func(key persistence.Key, err error, final bool)
	// Critical: 5 loads or saves failed within 120 s (true), or that is over (false).
	Critical func(critical bool)
	// Charged: what a token of a game server's budget paid for was done, a load or the save of an entity, of so many bytes, as seen where it
	// is loaded or stored, not by who grants.
	Charged func(server persistence.Key, class budget.Class, key persistence.Key, bytes int64, at time.Time)
	// Answered: a call was answered. Called for every call.
	Answered func(key persistence.Key, err error)
}

// Validate returns nil, or every problem at once.
func (o *Options) Validate() error {
	var problems []error
	complain := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	complain(o.Journal == nil, "journal is not set")
	complain(o.Storage == nil, "storage is not set")
	complain(o.Describe == nil, "describe is not set")
	complain(o.Partitions < 1 || o.Partitions > 4096, "partitions is %d, not 1 to 4096", o.Partitions)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"autosave interval", o.AutosaveInterval},
		{"journal interval", o.JournalInterval},
		{"passivate after", o.PassivateAfter},
		{"encode idle after", o.EncodeIdleAfter},
		{"retry base", o.RetryBase},
		{"server timeout", o.ServerTimeout},
		{"minute", o.Minute},
	} {
		complain(d.value < 0, "%s is %s, which is negative", d.name, d.value)
		complain(d.value > 0 && d.value < time.Millisecond, "%s is %s, less than a millisecond", d.name, d.value)
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"memory limit", o.MemoryLimitBytes},
		{"world memory", o.WorldMemoryBytes},
		{"mailbox size", int64(o.MailboxSize)},
		{"max calls", int64(o.MaxCalls)},
		{"max loads", int64(o.MaxLoads)},
		{"tries", int64(o.Tries)},
	} {
		complain(n.value < 0, "%s is %d, which is negative", n.name, n.value)
	}
	return errors.Join(problems...)
}

// withDefaults returns o with its zero values filled.
func (o Options) withDefaults() Options {
	fill(&o.AutosaveInterval, 5*time.Minute)
	fill(&o.JournalInterval, time.Second)
	fill(&o.PassivateAfter, 10*time.Minute)
	fill(&o.EncodeIdleAfter, 30*time.Second)
	fill(&o.RetryBase, time.Second)
	fill(&o.ServerTimeout, 30*time.Second)
	fill(&o.Minute, time.Minute)
	fill(&o.WorldMemoryBytes, 64<<20)
	fill(&o.MailboxSize, 256)
	fill(&o.MaxCalls, 16384)
	fill(&o.MaxLoads, 32)
	fill(&o.Tries, 3)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Rules == nil {
		o.Rules = func(string) *player.Rules { return nil }
	}
	if o.WorldRules == nil {
		o.WorldRules = func(string) *world.Rules { return nil }
	}
	if o.FeatureLevel == nil {
		o.FeatureLevel = func() uint32 { return 1 }
	}
	if o.Forms == nil {
		o.Forms = codec.NewerForms()
	}
	return o
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
