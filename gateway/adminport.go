package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/skerry-dev/skerry/actors"
)

// healthTimeout bounds one look at the node's health.
const healthTimeout = 5 * time.Second

// newAdminHandler is what the operator's port serves.
func newAdminHandler(s *service) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		answerHealth(w, s.opts.Health(ctx))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.isDraining() {
			answerHealth(w, actors.ErrDraining)
			return
		}
		answerHealth(w, s.opts.Ready())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{}))
	for path, handle := range s.opts.Debug {
		mux.HandleFunc("GET "+path, handle)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// answerHealth is 200 {"ok":true}, or 503 and what is wrong.
func answerHealth(w http.ResponseWriter, err error) {
	body := struct {
		OK     bool   `json:"ok"`
		Reason string `json:"reason,omitempty"`
	}{OK: err == nil}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		body.Reason = err.Error()
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
