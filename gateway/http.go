package gateway

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// openAPI is generated from the same protos as the calls.
//
//go:embed openapi/skerry.swagger.json
var openAPI []byte

//go:embed index.html
var index []byte

// newHTTPHandler returns the JSON API: the calls of skerry.v1 by http.yaml, what describes them, and one shape of error for
// whatever goes wrong.
func newHTTPHandler(s *service) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{}),
		runtime.WithMarshalerOption(mimeOctets, octetMarshaler{}),
		runtime.WithIncomingHeaderMatcher(incomingHeader),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithErrorHandler(s.answerHTTPError),
		runtime.WithRoutingErrorHandler(answerNoRoute),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithMiddlewares(s.enter),
	)
	// The context is for handlers that dial; these do not.
	if err := skerryv1.RegisterSkerryHandlerServer(context.Background(), mux, s); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Method == http.MethodGet && r.URL.Path == "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(index)
		case r.Method == http.MethodGet && r.URL.Path == "/openapi.json":
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(openAPI)
		default:
			mux.ServeHTTP(w, r)
		}
	}), nil
}

// parameters are the query parameters of the calls that have any, by method and path.
var parameters = map[string][]string{ //nolint:gochecknoglobals // a table, never changed
	"GET /v1/players": {"after", "limit"},
	"GET /v1/players/{player=*}/commands/{command_id=*}": {"session"},
	"DELETE /v1/players/{player=*}/session":              {"session"},
	"GET /v1/servers/{server=*}/events":                  {"after", "wait"},
	"DELETE /v1/servers/{server=*}":                      {"incarnation"},
	"GET /v1/worlds":                                     {"owner", "after", "limit"},
	"GET /v1/worlds/{world=*}/commands/{command_id=*}":   {"session"},
	"DELETE /v1/worlds/{world=*}/session":                {"session"},
	"GET /v1/worlds/{world=*}/chunks":                    {"after", "limit"},
	"GET /v1/worlds/{world=*}/chests":                    {"after", "limit"},
	getChunkPath:                                         {"form"},
	putOctetsPath:                                        {"durability", "as"},
	"GET /v1/cluster/owners":                             {"player", "world", "server", "partition", "at"},
	"GET /v1/transfers/{id=*}":                           {"party.player", "party.chest.world", "party.chest.x", "party.chest.y", "party.chest.z", "party.session"},
}

// importPath is a call whose body may be larger than the others'.
const importPath = "PUT /v1/players/{player=*}"

// openWorldPath is another: a world's block names may come with it.
const openWorldPath = "POST /v1/worlds/{world=*}/session"

// enter is what a request passes whose path and method are a call's: its query and its body, read within bounds.
func (s *service) enter(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		pattern, _ := runtime.HTTPPattern(r.Context())
		r, route := asOctets(r, r.Method+" "+pattern.String())
		err := checkQuery(r.URL.RawQuery, parameters[route])
		var body []byte
		if err == nil {
			body, err = readBody(w, r, route)
		}
		if err == nil && route == putOctetsPath {
			body, err = wrapOctets(r, body)
		}
		if err != nil {
			wire := Describe(err)
			s.metrics.answered(callNone, codec.Code(wire.GetCode()), 0)
			writeError(w, wire, 0)
			return
		}
		r.Body = &jsonBody{Reader: bytes.NewReader(body), path: path}
		ctx := r.Context()
		if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			ctx = peer.NewContext(ctx, &peer.Peer{Addr: net.TCPAddrFromAddrPort(addr)})
		}
		if isFromWebPage(r) {
			ctx = context.WithValue(ctx, webPage{}, true)
		}
		next(w, r.WithContext(ctx), path) //nolint:contextcheck // it is the request's own
	}
}

// webPage is the context's key for a request that any web page in somebody's browser may have sent.
type webPage struct{}

func fromWebPage(ctx context.Context) bool { return ctx.Value(webPage{}) != nil }

// isFromWebPage reports whether a web page may be behind r: browsers tell with an Origin when they send for another page,
// and a page that gave its own name this machine's address shows by that name.
func isFromWebPage(r *http.Request) bool {
	if r.Header.Get("Origin") != "" {
		return true
	}
	at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if tcp, ok := at.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return false // other machines may call this one by any name; it lets them in without a key only when told to
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err != nil && !strings.EqualFold(host, "localhost")
}

// checkQuery refuses parameters that the call does not have, or that come twice.
func checkQuery(query string, known []string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return refuse(errBadRequest, "", "the query is malformed")
	}
	for name, given := range values {
		switch {
		case !slices.Contains(known, name):
			return refuse(errBadRequest, shorten(name), "is no parameter of this call")
		case len(given) > 1:
			return refuse(errBadRequest, name, "is given more than once")
		}
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request, route string) ([]byte, error) {
	limit := int64(MaxBodyBytes)
	switch route {
	case importPath:
		limit = MaxImportBytes
	case openWorldPath:
		limit = MaxWorldOpenBytes
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, refuse(errTooLarge, "", fmt.Sprintf("the body has at most %d bytes", limit))
	}
	if err != nil {
		return nil, refuse(errBadRequest, "", "the body could not be read")
	}
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		if text := bytes.TrimSpace(body); len(text) > 0 && string(text) != "{}" {
			return nil, refuse(errBadRequest, "", "the call takes no body")
		}
	}
	return body, nil
}

// incomingHeader says which headers are metadata; authorization always is.
func incomingHeader(name string) (string, bool) {
	switch name = strings.ToLower(name); name {
	case metaSpace, metaSession:
		return name, true
	default:
		return "", false
	}
}

// answerHTTPError answers a call that failed: with what the service said, or, when the handler around it found the request
// malformed, with what that says.
func (s *service) answerHTTPError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	if known, ok := errors.AsType[*statusError](err); ok {
		writeError(w, known.wire, 0) // counted where it was made
		return
	}
	if malformed, ok := errors.AsType[*runtime.HTTPStatusError](err); ok {
		err = refuse(errBadRequest, "", malformed.Error())
	} else if st := status.Convert(err); st.Code() == codes.InvalidArgument {
		err = parseFieldError(st.Message())
	}
	wire := Describe(err)
	s.metrics.answered(callNone, codec.Code(wire.GetCode()), 0)
	writeError(w, wire, 0)
}

// answerNoRoute answers a path or a method that is no call's.
func answerNoRoute(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	message := "no call has this path; / says what there is"
	switch httpStatus {
	case http.StatusMethodNotAllowed:
		message = "no call of this path has the method " + shorten(r.Method)
	case http.StatusNotFound:
	default:
		writeError(w, Describe(refuse(errBadRequest, "", "the path is malformed")), httpStatus)
		return
	}
	writeError(w, Describe(refuse(errNoSuchCall, "", message)), httpStatus)
}

// errorBody is the shape of every error of the JSON API.
type errorBody struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Field        string `json:"field"`
	CommandIndex *int32 `json:"commandIndex,omitempty"`
	Retryable    bool   `json:"retryable"`
	Outcome      string `json:"outcome"`
	RetryAfterMs int32  `json:"retryAfterMs"`
	Owner        string `json:"owner,omitempty"`
}

// writeError answers with an error; httpStatus 0 means what the code says.
func writeError(w http.ResponseWriter, wire *skerryv1.Error, httpStatus int) {
	if httpStatus == 0 {
		httpStatus = meaningOf(codec.Code(wire.GetCode())).http
	}
	w.Header().Set("Content-Type", "application/json")
	if ms := wire.GetRetryAfterMs(); ms > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(float64(ms)/1000))))
	}
	if httpStatus == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(httpStatus)
	_ = json.NewEncoder(w).Encode(errorBody{ // the client may be gone
		Code: wire.GetCode(), Message: wire.GetMessage(), Field: wire.GetField(), CommandIndex: wire.CommandIndex,
		Retryable: wire.GetRetryable(), Outcome: wire.GetOutcome().String(), RetryAfterMs: wire.GetRetryAfterMs(), Owner: wire.GetOwner(),
	})
}

// newHTTPServer bounds what a connection may take. Writing may take as long as the longest call and its answer.
// What goes wrong with a connection is of no interest by default.
func newHTTPServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      MaxTimeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}
