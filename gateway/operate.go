package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// The calls of the operator, and the lists: what addresses no single entity.

// Bounds of a page.
const (
	standardPage = 100
	maxPage      = 1000
)

// maxKeyName bounds the name of an API key, in characters.
const maxKeyName = 64

// run does a call that is no entity's: admits the caller, checks the scope, counts, and makes statuses of errors.
func (s *service) run(ctx context.Context, which call, do func(context.Context, *caller) error) error {
	began := s.now()
	err := s.runAdmitted(ctx, which, do)
	if err == nil {
		s.metrics.answered(which, "", s.now()-began)
		return nil
	}
	wire := s.describe(ctx, which, persistence.Key{}, err)
	s.metrics.answered(which, codec.Code(wire.GetCode()), s.now()-began)
	return &statusError{wire: wire}
}

func (s *service) runAdmitted(ctx context.Context, which call, do func(context.Context, *caller) error) error {
	c, err := s.admit(ctx)
	if err != nil {
		return err
	}
	if s.isDraining() {
		return actors.ErrDraining
	}
	if err := c.may(which); err != nil {
		return err
	}
	if err := c.spend(); err != nil {
		return err
	}
	counter := &s.waiting
	if which == callWatchServer {
		counter = &s.polls
	}
	if err := reserve(counter, s.opts.MaxCalls); err != nil {
		return err
	}
	defer counter.Add(-1)
	return do(ctx, c)
}

// ListPlayers lists a page of the players of the caller's space.
func (s *service) ListPlayers(ctx context.Context, in *skerryv1.ListPlayersRequest) (*skerryv1.ListPlayersResponse, error) {
	out := &skerryv1.ListPlayersResponse{}
	err := s.listPage(ctx, callListPlayers, persistence.Key{Kind: persistence.KindPlayer, ID: in.GetAfter()}, in.GetLimit(), func(ctx context.Context, space string, limit int) (err error) {
		out.Players, err = s.opts.Admin.ListPlayers(ctx, space, in.GetAfter(), limit)
		out.Players, out.Next = cutPage(out.Players, limit-1)
		return err
	})
	return out, err
}

// ListWorlds lists a page of the worlds of the caller's space, of one owner or all.
func (s *service) ListWorlds(ctx context.Context, in *skerryv1.ListWorldsRequest) (*skerryv1.ListWorldsResponse, error) {
	out := &skerryv1.ListWorldsResponse{}
	err := s.listPage(ctx, callListWorlds, persistence.Key{Kind: persistence.KindWorld, ID: in.GetAfter()}, in.GetLimit(), func(ctx context.Context, space string, limit int) (err error) {
		if owner := in.GetOwner(); owner != "" {
			if err = (persistence.Key{Space: space, Kind: persistence.KindPlayer, ID: owner}).Validate(); err != nil {
				return refuse(errBadRequest, "owner", err.Error())
			}
		}
		out.Worlds, err = s.opts.Admin.ListWorlds(ctx, space, in.GetOwner(), in.GetAfter(), limit)
		out.Worlds, out.Next = cutPage(out.Worlds, limit-1)
		return err
	})
	return out, err
}

// listPage runs list for one page of a space's entities, with one more than the page has; after's id, when there is one, is
// where the page begins.
func (s *service) listPage(ctx context.Context, which call, after persistence.Key, limit int32, list func(ctx context.Context, space string, limit int) error) error {
	return s.run(ctx, which, func(ctx context.Context, c *caller) error {
		if err := checkLimit(limit); err != nil {
			return err
		}
		if limit == 0 {
			limit = standardPage
		}
		if after.Space = c.space; after.ID != "" {
			if err := after.Validate(); err != nil {
				return refuse(errBadRequest, "after", err.Error())
			}
		}
		ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
		defer cancel()
		return list(ctx, c.space, int(limit)+1)
	})
}

// checkLimit refuses a size that no page has.
func checkLimit(limit int32) error {
	if limit < 0 || limit > maxPage {
		return refuse(errBadRequest, "limit", fmt.Sprintf("is %d, not 1 to %d", limit, maxPage))
	}
	return nil
}

// cutPage returns the page of ids, and where the next begins when there are more than it has.
func cutPage(ids []string, size int) (page []string, next string) {
	if len(ids) <= size {
		return ids, ""
	}
	return ids[:size], ids[size-1]
}

// ListSpaces lists the spaces that the caller's key is good for.
func (s *service) ListSpaces(ctx context.Context, _ *skerryv1.ListSpacesRequest) (*skerryv1.ListSpacesResponse, error) {
	out := &skerryv1.ListSpacesResponse{}
	return out, s.run(ctx, callListSpaces, func(ctx context.Context, c *caller) error {
		spaces, err := s.opts.Admin.Spaces(ctx)
		for _, space := range spaces {
			if c.opens(space.GetName()) {
				out.Spaces = append(out.Spaces, space)
			}
		}
		return err
	})
}

// CopySpace copies a space and tells how far it is.
func (s *service) CopySpace(in *skerryv1.CopySpaceRequest, conn grpc.ServerStreamingServer[skerryv1.SpaceProgress]) error {
	return s.run(conn.Context(), callCopySpace, func(ctx context.Context, c *caller) error {
		if err := c.checkSpace("from", in.GetFrom()); err != nil {
			return err
		}
		if err := c.checkSpace("to", in.GetTo()); err != nil {
			return err
		}
		if in.GetFrom() == in.GetTo() {
			return refuse(errBadRequest, "to", "is the same space as from")
		}
		return s.untilDraining(ctx, func(ctx context.Context) error {
			return s.opts.Admin.CopySpace(ctx, in.GetFrom(), in.GetTo(), conn.Send)
		})
	})
}

// EraseSpace removes a space and tells how far it is.
func (s *service) EraseSpace(in *skerryv1.EraseSpaceRequest, conn grpc.ServerStreamingServer[skerryv1.SpaceProgress]) error {
	return s.run(conn.Context(), callEraseSpace, func(ctx context.Context, c *caller) error {
		if err := c.checkSpace("space", in.GetSpace()); err != nil {
			return err
		}
		return s.untilDraining(ctx, func(ctx context.Context) error {
			return s.opts.Admin.EraseSpace(ctx, in.GetSpace(), conn.Send)
		})
	})
}

// WatchServer pushes a game server's events until the client leaves or the node drains.
func (s *service) WatchServer(in *skerryv1.WatchServerRequest, conn grpc.ServerStreamingServer[skerryv1.ServerEvent]) error {
	return s.run(conn.Context(), callWatchServer, func(ctx context.Context, c *caller) error {
		key := persistence.Key{Space: c.space, Kind: persistence.KindServer, ID: in.GetServer()}
		if err := checkKey(key, "server"); err != nil {
			return err
		}
		return s.untilDraining(ctx, func(ctx context.Context) error {
			return s.opts.Entities.Watch(ctx, key, in.GetAfter(), func(event *skerryv1.ServerEvent) (err error) {
				if c, err = s.again(ctx, c); err == nil {
					err = c.may(callWatchServer)
				}
				if err != nil {
					return err // the key was revoked
				}
				return conn.Send(event)
			})
		})
	})
}

// untilDraining runs do with a context that also ends when the service drains, and says so in place of do's error.
func (s *service) untilDraining(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.draining:
			cancel(actors.ErrDraining)
		case <-ctx.Done():
		}
	})
	defer watching.Wait()
	defer cancel(nil)
	err := do(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// checkSpace returns nil when the caller's key is good for the space that a field names.
func (c *caller) checkSpace(field, space string) error {
	if err := persistence.ValidateSpace(space); err != nil {
		return refuse(errBadRequest, field, err.Error())
	}
	if !c.opens(space) {
		return refuse(errForbidden, field, "the API key is not good for this space")
	}
	return nil
}

// changeKeys is run for a call that changes the keys: one at a time, its caller held against the keys as they are by then.
func (s *service) changeKeys(ctx context.Context, which call, do func(context.Context, *caller) error) error {
	return s.run(ctx, which, func(ctx context.Context, c *caller) error {
		return s.keys.change(ctx, func(now *keySet) error {
			fresh := *c
			if err := s.authenticate(&fresh, now); err != nil {
				return err
			}
			if err := fresh.may(which); err != nil {
				return err
			}
			return do(ctx, &fresh)
		})
	})
}

// CreateKey makes an API key, which is shown this once. The first of all keys must be able to make the others, else nobody
// could; a key grants only what it has.
func (s *service) CreateKey(ctx context.Context, in *skerryv1.CreateKeyRequest) (*skerryv1.CreateKeyResponse, error) {
	out := &skerryv1.CreateKeyResponse{}
	return out, s.changeKeys(ctx, callCreateKey, func(ctx context.Context, c *caller) error {
		granted, err := checkNewKey(c, in)
		if err != nil {
			return err
		}
		switch everything := in.GetSpace() == everySpace && granted == allScopes; {
		case len(c.keys.byID) == 0 && !everything:
			return refuse(errBadRequest, "scopes", `the first key must have the space "*" and the scopes admin and operate, or nobody could make others`)
		case len(c.keys.byID) >= MaxKeys:
			return refuse(errTooLarge, "", fmt.Sprintf("there are %d keys, the most there may be", MaxKeys))
		}
		id, key, hash := newKey()
		value, err := proto.Marshal(&storev1.KeyRecord{
			Id: id, Name: in.GetName(), Space: in.GetSpace(), Scopes: in.GetScopes(), SecretHash: hash[:], CreatedMs: time.Now().UnixMilli(),
		})
		if err != nil {
			return err
		}
		err = s.opts.Admin.PutRecord(ctx, keyRecords+id, value)
		s.keys.changed() // also after an error: the outcome may be unknown
		if err != nil {
			return err
		}
		out.Id, out.Key = id, key
		return nil
	})
}

// checkNewKey checks the form of a new key, and that the caller may grant it.
func checkNewKey(c *caller, in *skerryv1.CreateKeyRequest) (scopes, error) {
	name := in.GetName()
	switch {
	case !utf8.ValidString(name):
		return 0, refuse(errBadRequest, "name", "is not UTF-8")
	case utf8.RuneCountInString(name) > maxKeyName:
		return 0, refuse(errTooLarge, "name", fmt.Sprintf("has over %d characters", maxKeyName))
	case slices.ContainsFunc([]rune(name), unicode.IsControl):
		return 0, refuse(errBadRequest, "name", "has control characters")
	case len(in.GetScopes()) == 0:
		return 0, refuse(errBadRequest, "scopes", "are none: a key needs at least one of read, play, admin, operate")
	case len(in.GetScopes()) > 4:
		return 0, refuse(errBadRequest, "scopes", "are more than there are")
	}
	granted, err := parseScopes(in.GetScopes())
	if err != nil {
		return 0, refuse(errBadRequest, "scopes", err.Error())
	}
	if in.GetSpace() != everySpace {
		if err := c.checkSpace("space", in.GetSpace()); err != nil {
			return 0, err
		}
	} else if !c.opens(everySpace) {
		return 0, refuse(errForbidden, "space", "the API key is not good for every space")
	}
	if !c.scopes.has(granted) {
		return 0, refuse(errForbidden, "scopes", "an API key grants only the scopes that it has: "+c.scopes.String())
	}
	return granted, nil
}

// ListKeys lists the API keys for the spaces that the caller's own is good for, oldest first.
func (s *service) ListKeys(ctx context.Context, _ *skerryv1.ListKeysRequest) (*skerryv1.ListKeysResponse, error) {
	out := &skerryv1.ListKeysResponse{}
	return out, s.run(ctx, callListKeys, func(_ context.Context, c *caller) error {
		var keys []*apiKey
		for _, key := range c.keys.byID {
			if c.opens(key.record.GetSpace()) {
				keys = append(keys, key)
			}
		}
		slices.SortFunc(keys, compareKeys)
		for _, key := range keys {
			out.Keys = append(out.Keys, &skerryv1.Key{
				Id: key.record.GetId(), Name: key.record.GetName(), Space: key.record.GetSpace(), Scopes: key.record.GetScopes(),
				CreatedAt: timestamppb.New(time.UnixMilli(key.record.GetCreatedMs())),
			})
		}
		return nil
	})
}

// RevokeKey makes a key good for nothing, here at once, on other nodes within KeysMaxAge. The last key that can make every
// other one stays.
func (s *service) RevokeKey(ctx context.Context, in *skerryv1.RevokeKeyRequest) (*skerryv1.RevokeKeyResponse, error) {
	return &skerryv1.RevokeKeyResponse{}, s.changeKeys(ctx, callRevokeKey, func(ctx context.Context, c *caller) error {
		key := c.keys.byID[in.GetId()]
		if key == nil || !c.opens(key.record.GetSpace()) {
			return refuse(errNotFound, "id", "there is no such API key")
		}
		makers := 0
		for _, other := range c.keys.byID {
			if other.canMakeKeys() {
				makers++
			}
		}
		if key.canMakeKeys() && makers == 1 {
			return refuse(errForbidden, "id", "it is the last key that can make every other one: make another such key first")
		}
		err := s.opts.Admin.PutRecord(ctx, keyRecords+in.GetId(), nil)
		s.keys.changed()
		return err
	})
}
