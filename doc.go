// Package skerry has no code of its own: the rooms are the folders. Start at ARCHITECTURE.md; a game server imports
// package client, an operator runs cmd/skerry.
package skerry
