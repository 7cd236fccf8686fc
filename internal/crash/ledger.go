package main

import (
	"fmt"
	"time"
)

// A ledger is what one player's worker knows: every command it had answered, in order. One worker, one command at a
// time, so the stored state must be explained by the ledger alone. A ledger belongs to its worker's goroutine.
//
// A DURABLE command adds 1 to the attribute "d" and its own amount of coins; a MEMORY command adds 1 to "m" and its own
// amount of play time. Counts and sums together name the commands that are there: a lost, a doubled or a
// missing middle one does not add up.
type ledger struct {
	base    stored // the state before the first command
	durable int64  // DURABLE commands answered
	coins   int64  // their amounts together
	memory  []memoryCommand
	// settled is how many MEMORY commands may no longer be lost: a later DURABLE command was answered, or they were read
	// back after a restart that followed a full journal interval.
	settled int
	// lost counts the MEMORY commands that crashes took, each a suffix within the window.
	lost int
	// greatestWindow is the greatest age, at the kill, of a lost command.
	greatestWindow time.Duration
}

type memoryCommand struct {
	amount   int64
	answered time.Time
}

// stored is a player as read back.
type stored struct {
	durable, coins int64 // attribute d, coins
	memory, played int64 // attribute m, total play time
}

func (l *ledger) answeredDurable(amount int64) {
	l.durable++
	l.coins += amount
	l.settled = len(l.memory) // a DURABLE command takes everything before it to the disk
}

func (l *ledger) answeredMemory(amount int64, now time.Time) {
	l.memory = append(l.memory, memoryCommand{amount: amount, answered: now})
}

// afterCrash holds what was read back against the ledger. killed is when the process was told to die. pending, when not
// nil, is a MEMORY command that was on its way at the kill and was answered after the restart: it is there, after
// whatever prefix survived. window is the journal interval and one append. On success the ledger forgets the lost suffix.
func (l *ledger) afterCrash(got stored, killed time.Time, pending *memoryCommand, window time.Duration) error {
	if err := l.checkDurable(got); err != nil {
		return err
	}
	kept := got.memory - l.base.memory
	if pending != nil {
		kept-- // it is there: it was answered
	}
	if kept < int64(l.settled) {
		return fmt.Errorf("MEMORY: %d commands survive, but the first %d were settled by a later DURABLE answer", kept, l.settled)
	}
	if kept > int64(len(l.memory)) {
		return fmt.Errorf("MEMORY: %d commands are there, only %d were sent: one was applied twice", kept, len(l.memory))
	}
	sum := l.base.played
	for _, c := range l.memory[:kept] {
		sum += c.amount
	}
	if pending != nil {
		sum += pending.amount
	}
	if sum != got.played {
		return fmt.Errorf("MEMORY: the first %d commands add up to %d, stored is %d: not a prefix", kept, sum, got.played)
	}
	for _, c := range l.memory[kept:] {
		age := killed.Sub(c.answered)
		l.greatestWindow = max(l.greatestWindow, age)
		if age > window {
			return fmt.Errorf("MEMORY: a command answered %v before the kill is lost, the window is %v", age, window)
		}
		l.lost++
	}
	l.memory = l.memory[:kept]
	if pending != nil {
		l.memory = append(l.memory, *pending)
	}
	return nil
}

func (l *ledger) checkDurable(got stored) error {
	if have := got.durable - l.base.durable; have != l.durable {
		return fmt.Errorf("DURABLE: %d commands are stored, %d were answered", have, l.durable)
	}
	if have := got.coins - l.base.coins; have != l.coins {
		return fmt.Errorf("DURABLE: the stored amounts add up to %d, the answered ones to %d", have, l.coins)
	}
	return nil
}
