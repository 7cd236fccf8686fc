package gateway

import (
	"context"
	"net"
	"strings"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/skerry-dev/skerry/persistence"
)

// The metadata that say who calls and where, on gRPC and as HTTP headers alike.
const (
	metaAuthorization = "authorization"
	metaSpace         = "skerry-space"
	metaSession       = "skerry-session"
)

// maxTokenBytes bounds the tokens that callers hand back: sessions, incarnations, open ids.
const maxTokenBytes = 128

// caller is who asks, for which space. Immutable.
type caller struct {
	space   string
	session string // for requests without one of their own
	scopes  scopes // what the key allows in space
	keyID   string // "" for a caller without a key
	secret  secretHash
	key     *apiKey // nil without a key
	keys    *keySet // what the caller was held against
	limiter *rate.Limiter
}

// admit says who calls, from the metadata of ctx. Its errors are refusals: a malformed space, a key that is missing, not
// known, or not good for the space.
func (s *service) admit(ctx context.Context) (*caller, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	c := &caller{space: persistence.DefaultSpace}
	for _, field := range []struct {
		name  string
		value *string
	}{{metaSpace, &c.space}, {metaSession, &c.session}} {
		switch values := md.Get(field.name); {
		case len(values) > 1:
			return nil, refuse(errBadRequest, field.name, "is given more than once")
		case len(values) == 1 && values[0] != "":
			*field.value = values[0]
		}
	}
	if err := persistence.ValidateSpace(c.space); err != nil {
		return nil, refuse(errBadRequest, metaSpace, err.Error())
	}
	if !isToken(c.session) {
		return nil, refuse(errBadRequest, metaSession, "is no session token")
	}
	if err := c.readKey(md.Get(metaAuthorization)); err != nil {
		return nil, err
	}
	keys, err := s.keys.keys(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(c, keys); err != nil {
		return nil, err
	}
	if c.keyID == "" && fromWebPage(ctx) {
		return nil, refuse(errForbidden, metaAuthorization, "a web page needs an API key, also while there are none: this came with an Origin, or to a name that is not this machine's own")
	}
	counted := "key " + c.keyID
	if c.keyID == "" {
		counted = "host " + remoteHost(ctx)
	}
	c.limiter = s.limiters.of(counted)
	return c, nil
}

// readKey takes the key out of the authorization header.
func (c *caller) readKey(headers []string) error {
	if len(headers) == 0 || len(headers) == 1 && headers[0] == "" {
		return nil
	}
	scheme, key, _ := strings.Cut(headers[0], " ")
	id, hash, ok := parseKey(strings.TrimSpace(key))
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || !ok {
		return refuse(errUnauthenticated, metaAuthorization, "is not of the form Bearer sk_ID_SECRET")
	}
	c.keyID, c.secret = id, hash
	return nil
}

// authenticate holds the caller against keys and fills in what it may do.
func (s *service) authenticate(c *caller, keys *keySet) error {
	c.keys, c.key, c.scopes = keys, nil, 0
	if c.keyID == "" {
		if len(keys.byID) == 0 && s.opts.AllowAnonymous {
			c.scopes = allScopes
			return nil
		}
		return refuse(errUnauthenticated, metaAuthorization, "an API key is needed: Authorization: Bearer KEY")
	}
	key := keys.find(c.keyID, c.secret)
	if key == nil {
		return refuse(errUnauthenticated, metaAuthorization, "no such API key")
	}
	c.key = key
	if key.opens(c.space) {
		c.scopes = key.scopes
		return nil
	}
	return refuse(errForbidden, metaSpace, "the API key is not good for this space")
}

// again is admit for a caller who was let in before, and has stayed: it costs nothing while the keys are the same.
func (s *service) again(ctx context.Context, c *caller) (*caller, error) {
	keys, err := s.keys.keys(ctx)
	if err != nil || keys == c.keys {
		return c, err
	}
	fresh := *c
	if err := s.authenticate(&fresh, keys); err != nil {
		return c, err
	}
	return &fresh, nil
}

// may returns nil when the caller may make the call.
func (c *caller) may(which call) error {
	if need := calls[which].need; !c.scopes.has(need) {
		return refuse(errForbidden, metaAuthorization, calls[which].name+" needs scope "+need.String())
	}
	return nil
}

// opens reports whether the caller's key is good for another space too.
func (c *caller) opens(space string) bool { return c.key == nil || c.key.opens(space) }

// isToken reports whether text may be a token: nothing, or printable ASCII within bounds.
func isToken(text string) bool {
	if len(text) > maxTokenBytes {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// remoteHost returns the address that the call came from, without its port.
func remoteHost(ctx context.Context) string {
	from, ok := peer.FromContext(ctx)
	if !ok || from.Addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(from.Addr.String())
	if err != nil {
		return from.Addr.String()
	}
	return host
}
