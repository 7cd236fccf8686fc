package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/gateway"
	"github.com/skerry-dev/skerry/persistence"
)

// Config is everything that an operator can set. Start from [DefaultConfig]; [Settings] names and explains each field.
type Config struct {
	Name     string
	Data     string
	HTTP     string
	GRPC     string
	Peer     string
	Gossip   string
	Admin    string
	Insecure bool

	// Join are the gossip addresses of nodes of the cluster, comma-separated.
	Join        string
	JoinTimeout time.Duration
	Advertise   string
	GossipKey   string // a file
	PeerCert    string
	PeerKey     string
	PeerCA      string

	TLSCert string
	TLSKey  string

	LogLevel  string
	LogFormat string

	Partitions      int
	Autosave        string // budget or naive
	AutosaveAfter   time.Duration
	JournalAfter    time.Duration
	PassivateAfter  time.Duration
	EncodeIdleAfter time.Duration
	MemoryLimit     Bytes
	MailboxSize     int
	MaxCalls        int
	MaxLoads        int
	Minute          time.Duration
	ServerTimeout   time.Duration
	ShutdownTimeout time.Duration

	// GCGarbage is the process's business: a Node does not touch the collector, it may live in somebody else's process.
	GCGarbage     Bytes
	StoreCache    Bytes
	StoreMemTable Bytes
	LogSegment    Bytes
	LogMax        Bytes

	StreamInFlight    int
	MaxConnections    int
	RequestTimeout    time.Duration
	RequestsPerSecond float64
	RequestBurst      int

	// Rules are the rules of each space, by name; "*" is for spaces without rules of their own. Only the file can set them.
	Rules map[string]*player.Rules
}

// DefaultConfig is what a node runs with when nothing is set.
func DefaultConfig() Config {
	return Config{
		Name: defaultName(), Data: "./skerry-data",
		HTTP: "127.0.0.1:7700", GRPC: "127.0.0.1:7701", Peer: "127.0.0.1:7702", Gossip: "127.0.0.1:7703", Admin: "127.0.0.1:7704",
		LogLevel: "info", LogFormat: "text",
		Partitions:    32,
		Autosave:      "budget",
		AutosaveAfter: 5 * time.Minute, JournalAfter: time.Second, PassivateAfter: 10 * time.Minute,
		EncodeIdleAfter: 30 * time.Second, MailboxSize: 256, MaxCalls: 16384, MaxLoads: 32,
		Minute: time.Minute, ServerTimeout: 30 * time.Second, ShutdownTimeout: 20 * time.Second, JoinTimeout: time.Minute,
		GCGarbage: 512 << 20, StoreCache: 128 << 20, StoreMemTable: 16 << 20, LogSegment: 16 << 20, LogMax: 256 << 20,
		StreamInFlight: 4096, MaxConnections: 8192, RequestTimeout: 10 * time.Second,
	}
}

// joins are the addresses in Join.
func (c *Config) joins() []string {
	return strings.FieldsFunc(c.Join, func(r rune) bool { return r == ',' || r == ' ' })
}

// defaultName is the machine's name, as far as it can be a node's.
func defaultName() string {
	host, err := os.Hostname()
	if err != nil {
		return "node"
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if nameProblem(host) != nil {
		return "node"
	}
	return host
}

func nameProblem(name string) error {
	if (persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindServer, ID: name}).Validate() != nil {
		return fmt.Errorf("name: %q is not 1 to 64 of A-Z a-z 0-9 _ . : -, the first a letter, digit or _", name)
	}
	return nil
}

// Validate returns nil, or every problem at once, each beginning with its setting's name.
func (c *Config) Validate() error {
	problems := []error{nameProblem(c.Name)}
	complain := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	complain(c.Data == "", "data: a directory is needed")
	for _, a := range []struct{ name, addr string }{
		{"http", c.HTTP},
		{"grpc", c.GRPC},
		{"peer", c.Peer},
		{"gossip", c.Gossip},
		{"admin", c.Admin},
	} {
		_, port, err := net.SplitHostPort(a.addr)
		complain(err != nil || port == "", "%s: %q is not HOST:PORT, such as 127.0.0.1:7700 (port 0 picks a free one)", a.name, a.addr)
	}
	complain((c.TLSCert == "") != (c.TLSKey == ""), "tls-cert, tls-key: they go together")
	complain((c.PeerCert == "") != (c.PeerKey == "") || (c.PeerCert == "") != (c.PeerCA == ""), "peer-cert, peer-key, peer-ca: they go together")
	for _, addr := range c.joins() {
		_, port, err := net.SplitHostPort(addr)
		complain(err != nil || port == "" || port == "0", "join: %q is not HOST:PORT of a node's gossip, such as 10.0.0.1:7703", addr)
	}
	complain(strings.ContainsAny(c.Advertise, ":/ "), "advertise: %q is not a host's name or address without a port", c.Advertise)
	_, err := c.level()
	complain(err != nil, "log-level: %q is not debug, info, warn or error", c.LogLevel)
	complain(c.LogFormat != "text" && c.LogFormat != "json", "log-format: %q is not text or json", c.LogFormat)
	complain(c.Autosave != "budget" && c.Autosave != naive, "autosave: %q is not budget or naive", c.Autosave)
	complain(c.Partitions < 1 || c.Partitions > 4096, "partitions: %d is not 1 to 4096", c.Partitions)
	problems = append(problems, c.validateNumbers()...)
	for space, rules := range c.Rules {
		if space != anySpace {
			if err := persistence.ValidateSpace(space); err != nil {
				problems = append(problems, fmt.Errorf("rules: %w", err))
			}
		}
		if err := rules.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("rules of %s: %w", space, err))
		}
	}
	return errors.Join(problems...)
}

// naive is the autosave that others are compared with.
const naive = "naive"

// anySpace is the name under which Rules has those of spaces without their own.
const anySpace = "*"

// maxMemTable is more than anybody needs; the store takes less than 4 GiB.
const maxMemTable Bytes = 2 << 30

// validateNumbers checks durations and sizes.
func (c *Config) validateNumbers() []error {
	var problems []error
	for _, d := range []struct {
		name         string
		value, least time.Duration
		most         time.Duration // 0: any
	}{
		{"autosave-interval", c.AutosaveAfter, time.Millisecond, 0},
		{"journal-interval", c.JournalAfter, time.Millisecond, 0},
		{"passivate-after", c.PassivateAfter, time.Millisecond, 0},
		{"encode-idle-after", c.EncodeIdleAfter, time.Millisecond, 0},
		{"minute", c.Minute, 100 * time.Millisecond, time.Hour},
		{"server-timeout", c.ServerTimeout, time.Second, 0},
		{"shutdown-timeout", c.ShutdownTimeout, time.Second, 0},
		{"join-timeout", c.JoinTimeout, time.Second, 0},
		{"request-timeout", c.RequestTimeout, time.Millisecond, gateway.MaxTimeout},
	} {
		if d.value < d.least {
			problems = append(problems, fmt.Errorf("%s: %s is less than %s", d.name, d.value, d.least))
		}
		if d.most > 0 && d.value > d.most {
			problems = append(problems, fmt.Errorf("%s: %s is more than %s", d.name, d.value, d.most))
		}
	}
	for _, n := range []struct {
		name         string
		value, least int64
	}{
		{"memory-limit", int64(c.MemoryLimit), 0},
		{"mailbox-size", int64(c.MailboxSize), 1},
		{"max-calls", int64(c.MaxCalls), 1},
		{"max-loads", int64(c.MaxLoads), 1},
		{"gc-garbage", int64(c.GCGarbage), 0},
		{"store-cache", int64(c.StoreCache), 1 << 20},
		{"store-memtable", int64(c.StoreMemTable), 1 << 20},
		{"log-segment", int64(c.LogSegment), 1 << 20},
		{"log-max", int64(c.LogMax), 2 * int64(c.LogSegment)},
		{"stream-in-flight", int64(c.StreamInFlight), 1},
		{"max-connections", int64(c.MaxConnections), 1},
		{"request-burst", int64(c.RequestBurst), 0},
	} {
		if n.value < n.least {
			problems = append(problems, fmt.Errorf("%s: %d is less than %d", n.name, n.value, n.least))
		}
	}
	if c.StoreMemTable > maxMemTable {
		problems = append(problems, fmt.Errorf("store-memtable: %s is more than 2GiB", &c.StoreMemTable))
	}
	if c.RequestsPerSecond < 0 {
		problems = append(problems, fmt.Errorf("requests-per-second: %g is negative", c.RequestsPerSecond))
	}
	return problems
}

func (c *Config) level() (slog.Level, error) {
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		return level, fmt.Errorf("log level %q is unknown", c.LogLevel)
	}
	return level, level.UnmarshalText([]byte(c.LogLevel))
}

// rulesOf returns the rules of a space; nil means the defaults.
func (c *Config) rulesOf(space string) *player.Rules {
	if rules, ok := c.Rules[space]; ok {
		return rules
	}
	return c.Rules[anySpace]
}

// onLoopback reports whether only this machine reaches addr.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
