package loadtest

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/loadtest/report"
)

// Options say where a scenario runs. One of Addr and Embedded is needed.
type Options struct {
	// Addr is the gRPC address of a node of the cluster, or several with commas. The nodes' times are then their own: only with a
	// Minute of one minute do the promises of dirty age fit.
	Addr string
	// Admins are the nodes' admin addresses, for what is counted at the storage side. Embedded nodes are known.
	Admins []string
	// Key is the API key, Space the space. Defaults: none, "main".
	Key, Space string
	// Embedded is how many nodes to start as processes; they end with the run.
	Embedded int
	// Program is what is started as a node: it gets the arguments of `skerry node`. Default: this program itself.
	Program string
	// Data is where those nodes keep their data, for looking at it afterwards. Default: a temporary directory that is removed.
	Data string
	// Fault is passed to the nodes as --fault; only programs built with the tag "faults" know it.
	Fault string

	// Minute is how long a minute of the scenario lasts. Default: 5 s.
	Minute time.Duration
	// Seed of everything that is drawn. Default: 1.
	Seed uint64
	// Restart restarts all nodes before the final reading.
	Restart bool
	// Connections are how many the game servers share. Default: one each, at most 8.
	Connections int
	// MaxInFlight bounds the operations without an answer; more are counted as failed, TOOL_BUSY. Default: 65536.
	MaxInFlight int
	// Logger says what happens. Default: silence.
	Logger *slog.Logger
	// Watch sees the run as it goes. Default: nobody does.
	Watch Watcher
}

// Watcher sees a run as it goes. Its methods are called from one goroutine at a time.
type Watcher interface {
	Add(report.Sample)
	Mark(report.Mark)
}

// ErrOptions says that the options contradict each other.
var ErrOptions = errors.New("bad options")

// DefaultMinute is how long a minute of a scenario lasts.
const DefaultMinute = 5 * time.Second

func (o *Options) defaults(s *Scenario) error {
	if o.Minute == 0 {
		o.Minute = DefaultMinute
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Space == "" {
		o.Space = "main"
	}
	if o.Connections == 0 {
		o.Connections = min(s.Servers, 8)
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 1 << 16
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case (o.Addr == "") == (o.Embedded == 0):
		return fmt.Errorf("%w: either an address or a number of embedded nodes is needed", ErrOptions)
	case o.Embedded < 0 || o.Embedded > 9:
		return fmt.Errorf("%w: %d embedded nodes are not 1 to 9", ErrOptions, o.Embedded)
	case o.Minute < 100*time.Millisecond || o.Minute > time.Hour:
		return fmt.Errorf("%w: a minute of %s is not within 100ms to 1h", ErrOptions, o.Minute)
	}
	if o.Addr != "" {
		if o.Restart || o.Fault != "" || o.Data != "" {
			return fmt.Errorf("%w: restart, fault and data are for nodes that are started here", ErrOptions)
		}
		for i := range s.Events {
			if s.Events[i].Do == DoKill || s.Events[i].Do == DoRestart {
				return fmt.Errorf("%w: the scenario does %q to nodes: only to those that are started here", ErrOptions, s.Events[i].Do)
			}
		}
	}
	return nil
}
