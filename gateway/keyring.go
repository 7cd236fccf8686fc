package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// everySpace is the space of a key that is good for all of them.
const everySpace = "*"

// keyRecords is the prefix of the records that hold API keys.
const keyRecords = "key/"

// secretHash is what is kept of a key's secret: SHA-256 of 256 random bits, for which no slower hash is needed.
type secretHash [sha256.Size]byte

// apiKey is a key as stored. Immutable.
type apiKey struct {
	record *storev1.KeyRecord
	scopes scopes
}

// keySet is all keys at a moment. Immutable.
type keySet struct {
	byID   map[string]*apiKey
	loaded time.Time
}

// keyring keeps the keys known and fresh. Its methods may be called from any goroutine.
type keyring struct {
	admin  Admin
	maxAge time.Duration
	logger *slog.Logger

	current    atomic.Pointer[keySet]
	generation atomic.Int64 // raised by every change made here, so that an older read is not taken for a newer one
	loading    singleflight.Group
	changing   chan struct{} // capacity 1: holds whoever changes the keys
}

// keys returns the keys, read again when they are older than maxAge. When they cannot be read, it returns those of the
// last minute, else an error: without knowing the keys nobody gets in.
func (k *keyring) keys(ctx context.Context) (*keySet, error) {
	if set := k.current.Load(); set != nil && time.Since(set.loaded) < k.maxAge {
		return set, nil
	}
	generation := k.generation.Load()
	loaded, err, _ := k.loading.Do(strconv.FormatInt(generation, 10), func() (any, error) {
		return k.load(context.WithoutCancel(ctx), generation)
	})
	if err == nil {
		return loaded.(*keySet), nil //nolint:forcetypeassert // load returns nothing else
	}
	if set := k.current.Load(); set != nil && time.Since(set.loaded) < k.maxAge+time.Minute {
		k.logger.LogAttrs(ctx, slog.LevelWarn, "keys could not be read, the older ones go on", slog.Any("err", err))
		return set, nil
	}
	return nil, fmt.Errorf("%w: API keys: %w", actors.ErrLoad, err)
}

func (k *keyring) load(ctx context.Context, generation int64) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	set := &keySet{byID: map[string]*apiKey{}, loaded: time.Now()}
	records, err := k.admin.Records(ctx, keyRecords, MaxKeys+1)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		stored := &storev1.KeyRecord{}
		if err := proto.Unmarshal(record.Value, stored); err != nil {
			return nil, fmt.Errorf("record %q: %w", record.Name, err)
		}
		granted, err := parseScopes(stored.GetScopes())
		if err != nil || len(stored.GetSecretHash()) != sha256.Size || record.Name != keyRecords+stored.GetId() {
			return nil, fmt.Errorf("record %q is no API key", record.Name)
		}
		set.byID[stored.GetId()] = &apiKey{record: stored, scopes: granted}
	}
	if k.generation.Load() == generation {
		k.current.Store(set)
	}
	return set, nil
}

// change runs do with the keys as they are now, while nobody else on this node changes them: what it checks still holds
// when it writes.
func (k *keyring) change(ctx context.Context, do func(*keySet) error) error {
	select {
	case k.changing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-k.changing }()
	now, err := k.load(ctx, k.generation.Load())
	if err != nil {
		return fmt.Errorf("%w: API keys: %w", actors.ErrLoad, err)
	}
	return do(now)
}

// changed makes the next use read the keys again.
func (k *keyring) changed() {
	k.generation.Add(1)
	k.current.Store(nil)
}

// find returns the key of this id and secret, or nil. How long it takes says nothing of the secret.
func (s *keySet) find(id string, hash secretHash) *apiKey {
	key := s.byID[id]
	var stored secretHash
	if key != nil {
		copy(stored[:], key.record.GetSecretHash())
	}
	if subtle.ConstantTimeCompare(stored[:], hash[:]) != 1 || key == nil {
		return nil
	}
	return key
}

// opens reports whether the key is good for a space.
func (k *apiKey) opens(space string) bool {
	return k.record.GetSpace() == everySpace || k.record.GetSpace() == space
}

// canMakeKeys reports whether the key can make every other key.
func (k *apiKey) canMakeKeys() bool {
	return k.record.GetSpace() == everySpace && k.scopes.has(allScopes)
}

// compareKeys orders keys by when they were made.
func compareKeys(a, b *apiKey) int {
	return cmp.Or(cmp.Compare(a.record.GetCreatedMs(), b.record.GetCreatedMs()), strings.Compare(a.record.GetId(), b.record.GetId()))
}

// newKey returns a fresh id, the key to show once, and what to keep of it.
func newKey() (id, key string, hash secretHash) {
	var name [8]byte
	var secret [32]byte
	_, _ = rand.Read(name[:])   // never fails
	_, _ = rand.Read(secret[:]) // never fails
	id = hex.EncodeToString(name[:])
	text := base64.RawURLEncoding.EncodeToString(secret[:])
	return id, "sk_" + id + "_" + text, sha256.Sum256([]byte(text))
}

// parseKey splits what newKey made; ok is false for anything else.
func parseKey(key string) (id string, hash secretHash, ok bool) {
	rest, isKey := strings.CutPrefix(key, "sk_")
	id, text, split := strings.Cut(rest, "_")
	if !isKey || !split || len(id) != 16 || len(text) != base64.RawURLEncoding.EncodedLen(32) {
		return "", secretHash{}, false
	}
	return id, sha256.Sum256([]byte(text)), true
}
