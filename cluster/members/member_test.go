package members

import (
	"bytes"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func TestMemberAsBytes(t *testing.T) {
	m := Member{
		Node: 1<<32 - 1, Cluster: "c1", Nonce: 1<<64 - 1, Life: 3, State: Draining, Peer: "10.0.0.1:7702", GRPC: "10.0.0.1:7701",
		HTTP: "[::1]:7700", Feature: 1<<32 - 1, Version: "v1.2.3",
	}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"", "what a later build says besides"} {
		if got, err := decodeMember(append(bytes.Clone(b), more...)); err != nil || got != m {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for n := range b {
		if _, err := decodeMember(b[:n]); !errors.Is(err, errMalformed) {
			t.Errorf("%d bytes of %d: %v", n, len(b), err)
		}
	}
	b[0]++
	if _, err := decodeMember(b); !errors.Is(err, errMalformed) {
		t.Errorf("another version: %v", err)
	}
}

func FuzzDecodeMember(f *testing.F) {
	m := Member{Node: 3, Cluster: "c1", Nonce: 1, Life: 2, State: Active, Peer: "p", GRPC: "g", HTTP: "h", Feature: 1, Version: "v"}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMember(data)
		if err != nil {
			if !errors.Is(err, errMalformed) || m != (Member{}) {
				t.Fatalf("%+v, %v", m, err)
			}
			return
		}
		b, err := m.encode()
		if errors.Is(err, ErrTooLong) {
			return
		}
		if again, err2 := decodeMember(b); err != nil || err2 != nil || again != m {
			t.Fatalf("%+v, then %+v: %v, %v", m, again, err, err2)
		}
	})
}

func FuzzDecodeEnvelope(f *testing.F) {
	for _, e := range []envelope{{kind: kindPayload, from: "a", payload: []byte("hello")}, {kind: kindLeaving, from: "a", life: 7}} {
		f.Add(e.encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEnvelope(data)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again, err := decodeEnvelope(e.encode()); err != nil || !reflect.DeepEqual(e, again) {
			t.Fatalf("%+v, then %+v: %v", e, again, err)
		}
	})
}

func TestLibrarysLevels(t *testing.T) {
	var b bytes.Buffer
	log := newLibraryLog(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for line, want := range map[string]string{
		"[DEBUG] memberlist: x": `level=DEBUG msg=gossip said=x`,
		"[INFO] memberlist: x":  `level=INFO msg=gossip said=x`,
		"[WARN] memberlist: x":  `level=WARN msg=gossip said=x`,
		"[ERR] memberlist: x":   `level=WARN msg=gossip said=x`,
		"Err: x":                `level=WARN msg=gossip said="Err: x"`,
		"[":                     `level=WARN msg=gossip said=""`,
	} {
		b.Reset()
		if log.Print(line); !strings.Contains(b.String(), want) {
			t.Errorf("%q: %s", line, b.String())
		}
	}
}
