package network_test

import (
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/network"
)

var inside = flag.Bool("inside", false, "this process has a network of its own")

// notPossible is the exit code that tells the process outside.
const notPossible = 3

// Goal: a link that is cut carries nothing in that direction, and everything else goes on.
// Method: packets between this process and two hosts, in a process that Enclose started.
func TestLinksAreCutOneWay(t *testing.T) {
	if !*inside {
		err := network.Enclose("-inside")
		ended, ok := errors.AsType[*exec.ExitError](err)
		if errors.Is(err, network.ErrNotPossible) || ok && ended.ExitCode() == notPossible {
			t.Skip("not possible here")
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	n, err := network.Open(2, 1)
	if errors.Is(err, network.ErrNotPossible) {
		t.Log(err)
		os.Exit(notPossible)
	}
	if err != nil {
		t.Fatal(err)
	}
	sockets := make([]net.PacketConn, 3)
	for i := range sockets {
		n.Do(i, func() { sockets[i], err = net.ListenPacket("udp", net.JoinHostPort(n.Addr(i), "7000")) })
		if err != nil {
			t.Fatal(err)
		}
	}
	arrives := func(from, to int) bool {
		t.Helper()
		for range 50 { // of which some arrive, unless all are lost
			if _, err := sockets[from].WriteTo([]byte{byte(from)}, sockets[to].LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		if err := sockets[to].SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		some := false
		for b := make([]byte, 10); ; some = true {
			_, sender, err := sockets[to].ReadFrom(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return some
			}
			if err != nil || sender.String() != sockets[from].LocalAddr().String() {
				t.Fatalf("%v, from %v", err, sender)
			}
		}
	}
	check := func(what string, cut ...[2]int) {
		t.Helper()
		for from := range sockets {
			for to := range sockets {
				want := true
				for _, c := range cut {
					want = want && c != [2]int{from, to}
				}
				if got := arrives(from, to); got != want {
					t.Errorf("%s: packets from %d to %d arrive: %v", what, from, to, got)
				}
			}
		}
	}
	check("whole")
	n.Lose(1, 2, 1)
	n.Lose(2, network.Here, 1)
	check("cut", [2]int{1, 2}, [2]int{2, network.Here})
	n.Heal()
	n.Lose(1, 2, 0.5)
	_, before := n.Packets()
	check("half")
	if _, dropped := n.Packets(); dropped-before < 10 || dropped-before > 40 {
		t.Errorf("%d of 50 packets were dropped, want about half", dropped-before)
	}
	for _, s := range sockets {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
