package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"hash/fnv"
	"image/color"
	"path"
	"strconv"
	"strings"
)

//go:embed palette.txt
var standardPalette string

// palette says what blocks look like from above.
type palette []paletteRule

type paletteRule struct {
	pattern string
	colour  color.RGBA // A 0: looked through
}

// parsePalette reads a palette file: lines of a pattern and a colour.
func parsePalette(text string) (palette, error) {
	var rules palette
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("palette line %d: want a pattern and a colour", n)
		}
		rule := paletteRule{pattern: fields[0]}
		if _, err := path.Match(rule.pattern, ""); err != nil {
			return nil, fmt.Errorf("palette line %d: %q: %w", n, rule.pattern, err)
		}
		if fields[1] != "none" {
			rgb, err := strconv.ParseUint(strings.TrimPrefix(fields[1], "#"), 16, 24)
			if err != nil || len(fields[1]) != 7 {
				return nil, fmt.Errorf("palette line %d: %q is neither #RRGGBB nor none", n, fields[1])
			}
			rule.colour = color.RGBA{R: uint8(rgb >> 16), G: uint8(rgb >> 8), B: uint8(rgb), A: 255} //nolint:gosec // 24 bits
		}
		rules = append(rules, rule)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("palette: %w", err)
	}
	return rules, nil
}

// colourOf is the colour of a block; one that no rule knows has one of its own, always the same. What Minecraft says of a
// block's state in brackets ("oak_leaves[waterlogged=false]") is no part of its name.
func (p palette) colourOf(name string) color.RGBA {
	name, _, _ = strings.Cut(name, "[")
	for _, rule := range p {
		if matched, _ := path.Match(rule.pattern, strings.ReplaceAll(name, "/", "_")); matched {
			return rule.colour
		}
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))
	sum := hash.Sum32()
	return color.RGBA{R: 96 + uint8(sum>>16)/2, G: 96 + uint8(sum>>8)/2, B: 96 + uint8(sum)/2, A: 255} //nolint:gosec // a hash
}

// table is the colour of each block id.
func (p palette) table(names []string) func(id uint16) color.RGBA {
	known := map[uint16]color.RGBA{}
	return func(id uint16) color.RGBA {
		c, ok := known[id]
		if !ok {
			name := strconv.Itoa(int(id))
			if int(id) < len(names) && names[id] != "" {
				name = names[id]
			}
			c = p.colourOf(name)
			known[id] = c
		}
		return c
	}
}
