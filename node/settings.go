package node

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Setting is one field of a [Config] as flag, as key of the file, and as environment variable.
type Setting struct {
	// Name is the flag without its dashes, and the file's key: "autosave-interval".
	Name string
	// Help says what it does, and what more or less of it means.
	Help string
	// Value shows the field and sets it.
	Value pflag.Value
}

// Env is the setting's environment variable: "SKERRY_AUTOSAVE_INTERVAL".
func (s Setting) Env() string {
	return "SKERRY_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Settings returns the settings of c in the order of the documentation; setting a value changes c.
func Settings(c *Config) []Setting {
	set := pflag.NewFlagSet("", pflag.ContinueOnError) // only to make values of pointers
	add := func(name, help string) Setting { return Setting{Name: name, Help: help, Value: set.Lookup(name).Value} }
	text := func(name string, p *string, help string) Setting {
		set.StringVar(p, name, *p, "")
		return add(name, help)
	}
	span := func(name string, p *time.Duration, help string) Setting {
		set.VarP((*duration)(p), name, "", "")
		return add(name, help)
	}
	number := func(name string, p *int, help string) Setting {
		set.VarP((*whole)(p), name, "", "")
		return add(name, help)
	}
	size := func(name string, p *Bytes, help string) Setting { set.VarP(p, name, "", ""); return add(name, help) }
	set.BoolVar(&c.Insecure, "insecure", c.Insecure, "")
	set.Float64Var(&c.RequestsPerSecond, "requests-per-second", c.RequestsPerSecond, "")

	return []Setting{
		text("name", &c.Name, "the node's name, shown in logs and in the cluster's status; default: the machine's name"),
		text("data", &c.Data, "directory of everything that is kept; made when missing, locked against a second process"),
		text("http", &c.HTTP, "HOST:PORT of the JSON API; port 0 picks a free one"),
		text("grpc", &c.GRPC, "HOST:PORT of the gRPC API, which the Go client uses"),
		text("peer", &c.Peer, "HOST:PORT for other nodes: the log's copies, requests passed on"),
		text("gossip", &c.Gossip, "HOST:PORT for membership, TCP and UDP; what other nodes are given as --join"),
		text("admin", &c.Admin, "HOST:PORT of /healthz, /readyz, /metrics and /debug/pprof; it has no keys: for the operator's network only"),
		add("insecure", "allow listening beyond this machine while no API key exists: everybody who reaches the port may do everything"),
		text("join", &c.Join, "HOST:PORT of the gossip of any nodes of a cluster, comma-separated: become, or be again, a node of it. Without it a new data directory is a cluster of one, which others can join"),
		span("join-timeout", &c.JoinTimeout, "how long a new node waits to be admitted before it gives up"),
		text("advertise", &c.Advertise, "host under which other nodes and clients reach this one; default: the host of each address, or the machine's first one when that is 0.0.0.0"),
		text("gossip-key-file", &c.GossipKey, "file with a key of 16, 24 or 32 bytes in base64, the same on all nodes: the gossip is encrypted, and who has it not cannot join"),
		text("peer-cert", &c.PeerCert, "PEM file of this node's certificate for other nodes, with the name node-ID.skerry or *.skerry; peer connections then are mutual TLS"),
		text("peer-key", &c.PeerKey, "PEM file of that certificate's private key"),
		text("peer-ca", &c.PeerCA, "PEM file of the authorities that sign nodes' certificates"),
		text("tls-cert", &c.TLSCert, "PEM file of the certificate for http and grpc; read again when it changes"),
		text("tls-key", &c.TLSKey, "PEM file of the certificate's private key"),
		text("log-level", &c.LogLevel, "debug, info, warn or error"),
		text("log-format", &c.LogFormat, "text or json, on standard error"),
		number("partitions", &c.Partitions, "how many slices a new store gets, 1 to 4096, for ever; an existing store keeps its own. More spreads finer over many nodes and costs a little each"),
		text("autosave", &c.Autosave, "budget or naive: saves spread within each game server's budget; or, for comparison only, everything dirty at once in each interval, one after another at shutdown, and MEMORY commands in memory alone until then"),
		span("autosave-interval", &c.AutosaveAfter, "the longest time for which a change has no snapshot. Shorter: faster loading after a crash, more disk writes. Losing nothing does not depend on it"),
		span("journal-interval", &c.JournalAfter, "the longest time for which a MEMORY command is only in memory: what a crash may lose. Shorter: less to lose, more disk writes"),
		span("passivate-after", &c.PassivateAfter, "how long an entity stays in memory unused. Longer: fewer loads, more memory"),
		span("encode-idle-after", &c.EncodeIdleAfter, "after which idle time an entity in memory is held encoded. Shorter: less memory, some microseconds at its next use"),
		size("memory-limit", &c.MemoryLimit, "bound on the encoded size of all entities in memory; beyond it the least recently used leave. 0: no bound. The process takes more than this"),
		number("mailbox-size", &c.MailboxSize, "how many requests may wait for one entity; more are refused, retryable"),
		number("max-calls", &c.MaxCalls, "how many requests may wait on this node; more are refused, retryable"),
		number("max-loads", &c.MaxLoads, "how many entities are loaded from disk at the same time"),
		span("minute", &c.Minute, "how long a minute of game servers' budgets lasts. Shorter: for load tests, which scale the other intervals alike"),
		span("server-timeout", &c.ServerTimeout, "after which silence a game server is dead and its sessions end, with a save; must be well above the interval of its heartbeats (10 s in the Go client)"),
		span("shutdown-timeout", &c.ShutdownTimeout, "how long a stopping node (SIGTERM) may take to answer what it accepted and to save what is dirty"),
		size("gc-garbage", &c.GCGarbage, "how much garbage may gather in memory before it is collected, or as much as is live when that is more. Less: less memory, more work. GOGC, when set, stands instead"),
		size("store-cache", &c.StoreCache, "memory for blocks of the store. More: fewer disk reads of entities not in memory"),
		size("store-memtable", &c.StoreMemTable, "how much is gathered before it is written to the store. More: fewer bytes written, slower start after a crash. At most 2GiB"),
		size("log-segment", &c.LogSegment, "length of one file of the log"),
		size("log-max", &c.LogMax, "length of the log above which the store is flushed and old files are used again; at least two segments"),
		number("stream-in-flight", &c.StreamInFlight, "how many requests of one gRPC stream may be unanswered before it is not read"),
		number("max-connections", &c.MaxConnections, "how many connections grpc and http accept, each"),
		span("request-timeout", &c.RequestTimeout, "how long a request waits for its answer when it does not say; at most 2m"),
		add("requests-per-second", "how many requests an API key, or without keys a remote address, may send; 0: any number"),
		number("request-burst", &c.RequestBurst, "how many may come at once within requests-per-second; 0: as many as in a second, at least 100"),
	}
}

// Bytes is a size. It reads "64MiB", "1.5GiB", "500MB" and plain numbers.
type Bytes int64

// units, greatest first, so that String finds the shortest.
func units() []struct {
	name  string
	bytes float64
} {
	return []struct {
		name  string
		bytes float64
	}{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"kB", 1e3},
		{"KB", 1e3},
		{"B", 1},
	}
}

// Set reads a size.
func (b *Bytes) Set(text string) error {
	number, scale := strings.TrimSpace(text), 1.0
	for _, unit := range units() {
		if rest, found := strings.CutSuffix(number, unit.name); found {
			number, scale = strings.TrimSpace(rest), unit.bytes
			break
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || value < 0 || math.IsNaN(value) || value*scale > math.MaxInt64/2 {
		return fmt.Errorf("%q is no size: write a number with B, KiB, MiB, GiB, kB, MB or GB", text)
	}
	*b = Bytes(value * scale)
	return nil
}

// String is the size in the greatest binary unit that divides it.
func (b *Bytes) String() string {
	for _, unit := range units()[:4] {
		if *b != 0 && int64(*b)%int64(unit.bytes) == 0 {
			return fmt.Sprintf("%d%s", int64(*b)/int64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%dB", int64(*b))
}

// Type is "size", for help texts.
func (b *Bytes) Type() string { return "size" }

// whole is an int that says what it is not.
type whole int

// Set reads a whole number.
func (w *whole) Set(text string) error {
	value, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is no whole number", text)
	}
	*w = whole(value)
	return nil
}

// String is the number.
func (w *whole) String() string { return strconv.Itoa(int(*w)) }

// Type is "int", for help texts.
func (w *whole) Type() string { return "int" }

// duration is a time.Duration that shows itself without empty minutes and seconds.
type duration time.Duration

// Set reads what time.ParseDuration reads.
func (d *duration) Set(text string) error {
	value, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no duration: write 500ms, 30s, 5m or 1h", text)
	}
	*d = duration(value)
	return nil
}

// String is "5m", not "5m0s".
func (d *duration) String() string {
	text := time.Duration(*d).String()
	text, _ = strings.CutSuffix(text, "m0s")
	if len(text) < len(time.Duration(*d).String()) {
		text += "m"
	}
	if hours, found := strings.CutSuffix(text, "h0m"); found {
		text = hours + "h"
	}
	return text
}

// Type is "duration", for help texts.
func (d *duration) Type() string { return "duration" }
