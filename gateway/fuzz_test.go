package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: no body can bring the JSON API down: it answers with 200, or with a typed error that is the caller's fault.
func FuzzJSONCommands(f *testing.F) {
	for _, c := range badCommands {
		if len(c.body) < 1000 {
			f.Add(c.body)
		}
	}
	f.Add(`{"commandId":"7","commands":[{"setAttribute":{"path":"a.b","value":{"c":[1,null,"x"]}},"expect":{"path":"profile.coins","value":100}}]}`)
	f.Add(`{"commandId":8,"commands":[{"setInventory":{"hotbar":[{"itemId":1,"count":2,"metadata":{"k":"v"}}]}}]}`)
	for _, c := range badWorldCommands {
		if len(c.body) < 1000 {
			f.Add(c.body)
		}
	}
	f.Add(`{"commandId":"7","commands":[{"setBlocks":{"blocks":[1,2,3,4]},"as":"1"},{"placeChest":{"x":1,"y":2,"z":3}}]}`)
	f.Add(`{"server":"s1","create":{"seed":"7","height":32,"blockNames":["air","stone"],"roles":{"2":"BUILDER"}},"chunks":[{"x":1,"z":-1}]}`)
	fake := newEntities()
	s, err := New(Options{Entities: fake, Admin: &adminFake{records: map[string][]byte{}}, AllowAnonymous: true})
	if err != nil {
		f.Fatal(err)
	}
	call := func(t *testing.T, path, body string) *httptest.ResponseRecorder {
		t.Helper()
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		request.Header.Set("Skerry-Session", "token-1")
		if strings.HasPrefix(path, "/v1/worlds/1/") {
			request.Header.Set("Skerry-Session", "token-2") // the second one opened
		}
		answer := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(answer, request)
		return answer
	}
	fake.tokens = 0
	f.Fuzz(func(t *testing.T, body string) {
		fake.mu.Lock()
		clear(fake.states)
		clear(fake.seqs)
		clear(fake.chunks)
		fake.tokens, fake.asked = 0, nil
		fake.mu.Unlock()
		call(t, "/v1/players/1/session", `{"server":"s1"}`)
		call(t, "/v1/worlds/1/session", `{"server":"s1","create":{"height":16}}`)
		for _, path := range []string{"/v1/players/1/commands", "/v1/players/2/session", "/v1/batch", "/v1/servers/s1", "/v1/worlds/1/commands", "/v1/worlds/2/session", "/v1/worlds/1/chunks:get"} {
			answer := call(t, path, body)
			if answer.Code == http.StatusOK {
				continue
			}
			var e errorBody
			if err := json.Unmarshal(answer.Body.Bytes(), &e); err != nil || answer.Code < 400 || answer.Code >= 500 || meaningOf(codec.Code(e.Code)).http != answer.Code || e.Outcome == "" {
				t.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
			}
		}
	})
}

// Goal: no message on a stream can bring the server down: each request in it is answered, once, with a response or with an
// error that is the caller's fault.
func FuzzStreamFrame(f *testing.F) {
	good := &skerryv1.BatchRequest{Requests: []*skerryv1.Request{open(1, "1"), earn("1", "token-1", 1, 5), getPlayer(2, "1"), {Id: 3}}}
	for _, request := range badMessages {
		if request.request.SizeVT() < 4096 {
			good.Requests = append(good.Requests, request.request)
		}
	}
	whole, err := good.MarshalVT()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0x02, 0x52, 0x00})
	inner := newMarkingCodec()
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := New(Options{Entities: newEntities(), Admin: &adminFake{records: map[string][]byte{}}, AllowAnonymous: true})
		if err != nil {
			t.Fatal(err)
		}
		message := &skerryv1.BatchRequest{}
		if err = inner.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, message); err != nil || checkFrame(message) != nil {
			return
		}
		caller, err := s.service.admit(metadata.NewIncomingContext(t.Context(), nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range message.GetRequests() {
			if r.GetGetServerEvents().GetWait() != "" {
				continue
			}
			answers := 0
			target, err := s.service.start(caller, r)
			if err == nil {
				s.service.opts.Entities.Do(&actors.Call{Key: target.key, Request: r, Admin: true, Reply: func(response *skerryv1.Response, failed error) {
					answers, err = answers+1, failed
					if (response == nil) == (failed == nil) {
						t.Errorf("%v answered with %v and %v", r, response, failed)
					}
					if response != nil {
						if _, failed := grpccodec.New().Marshal(&skerryv1.BatchResponse{Responses: []*skerryv1.Response{response}}); failed != nil {
							t.Errorf("%v: the answer cannot be encoded: %v", r, failed)
						}
						if _, failed := (marshaler{}).Marshal(response); failed != nil {
							t.Errorf("%v: the answer cannot be written as JSON: %v", r, failed)
						}
					}
				}})
				if answers != 1 {
					t.Errorf("%v was answered %d times", r, answers)
				}
			}
			if err != nil {
				if wire := Describe(err); wire.GetCode() == string(codec.CodeInternal) {
					t.Errorf("%v: %v", r, err)
				}
			}
		}
	})
}
