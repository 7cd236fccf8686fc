//go:build !race

package actors

const underRace = false
