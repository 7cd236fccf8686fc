package world

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Version is the schema version of the documents that this package makes.
const Version = 1

// maxSeed keeps a drawn seed exact in every JSON reader.
const maxSeed = 1<<53 - 1

const defaultDescription = "A player-owned world"

// nameSuffix makes a world's name of its owner's.
const nameSuffix = "'s World"

// New is the document of the world id, which is proven absent. It returns a [*items.Refusal] that names fields within
// create when create does not make a valid one. create may be nil; it is not kept.
func New(rules *Rules, id string, create *skerryv1.Create, turn Turn) (*skerryv1.World, error) {
	owner, _, _ := strings.Cut(id, "~")
	if create != nil && create.OwnerId != nil {
		owner = create.GetOwnerId()
	}
	create = create.CloneVT()
	if create == nil {
		create = &skerryv1.Create{}
	}
	w := &skerryv1.World{
		Version: Version, OwnerId: owner, OwnerName: create.GetOwnerName(), Created: timestamppb.New(turn.Now),
		Seed: int64(turn.Seed & maxSeed), Generator: create.GetGenerator(), Metadata: create.GetMetadata(), //nolint:gosec // 53 bits
		MinY: create.GetMinY(), Height: create.GetHeight(), BlockNames: create.GetBlockNames(), Roles: create.GetRoles(),
	}
	if create.Seed != nil {
		w.Seed = create.GetSeed()
	}
	if w.Metadata == nil {
		w.Metadata = &skerryv1.WorldMetadata{}
	}
	if w.Metadata.Name == "" {
		called := w.GetOwnerName()
		if called == "" {
			called = owner
		}
		if name := []rune(called); len(name) > maxWorldNameLength-len(nameSuffix) { // a player's name may be longer
			called = string(name[:maxWorldNameLength-len(nameSuffix)])
		}
		w.Metadata.Name = called + nameSuffix
		if called == "" {
			w.Metadata.Name = "World"
		}
	}
	if w.Metadata.Description == "" {
		w.Metadata.Description = defaultDescription
	}
	if w.Height == 0 {
		w.Height = defaultHeight
	}
	maps.DeleteFunc(w.Roles, func(_ string, role skerryv1.Role) bool { return role == skerryv1.Role_VISITOR })
	if err := Check(rules, w); err != nil {
		return nil, err
	}
	return w, nil
}

// Check returns a [*items.Refusal] that names what is wrong with the document, or nil. It holds for every document that
// [New] and the commands make, and is what a document from outside has to pass.
func Check(rules *Rules, w *skerryv1.World) error {
	rules = rules.orDefault()
	if w.GetOwnerId() != "" {
		if err := checkPlayer(w.GetOwnerId(), "ownerId"); err != nil {
			return err
		}
	}
	for _, text := range []struct {
		field, text string
		most        int
	}{
		{"ownerName", w.GetOwnerName(), rules.nameLength()},
		{"generator.name", w.GetGenerator().GetName(), maxGeneratorLength},
		{"generator.version", w.GetGenerator().GetVersion(), maxGeneratorLength},
		{"metadata.description", w.GetMetadata().GetDescription(), maxDescriptionLength},
	} {
		if err := items.CheckText(text.text, text.most, text.field); err != nil {
			return err
		}
	}
	if err := checkName(w.GetMetadata().GetName(), "metadata.name"); err != nil {
		return err
	}
	switch height, low := w.GetHeight(), w.GetMinY(); {
	case height < minHeight || height > maxHeight || height%16 != 0:
		return refuse(ErrBadRequest, "height", "is %d, not a multiple of 16 within %d..%d", height, minHeight, maxHeight)
	case low < -maxAbsY || low > maxAbsY:
		return refuse(ErrBadRequest, "minY", "is %d, not within %d..%d", low, -maxAbsY, maxAbsY)
	}
	if err := checkBlockNames(w.GetBlockNames()); err != nil {
		return err
	}
	return checkRoles(w)
}

func checkRoles(w *skerryv1.World) error {
	if len(w.GetRoles()) > MaxRoles {
		return refuse(ErrTooMany, "roles", "are %d, at most %d are allowed", len(w.GetRoles()), MaxRoles)
	}
	for _, player := range slices.Sorted(maps.Keys(w.GetRoles())) {
		field := fmt.Sprintf("roles[%.80q]", player)
		if err := checkPlayer(player, field); err != nil {
			return err
		}
		if role := w.GetRoles()[player]; role != skerryv1.Role_BUILDER || player == w.GetOwnerId() {
			return refuse(ErrBadRequest, field, "is %v: only BUILDER is given, and not to the owner", role)
		}
	}
	return nil
}

func checkBlockNames(names []string) error {
	if len(names) > maxBlockNames {
		return refuse(ErrTooLarge, "blockNames", "are %d, at most %d are allowed", len(names), maxBlockNames)
	}
	size := 0
	seen := make(map[string]int, len(names))
	for id, name := range names {
		if name == "" {
			continue
		}
		field := fmt.Sprintf("blockNames[%d]", id)
		size += len(name)
		switch _, err := strconv.ParseUint(name, 10, 64); {
		case len(name) > maxBlockNameBytes:
			return refuse(ErrTooLarge, field, "has %d bytes, at most %d are allowed", len(name), maxBlockNameBytes)
		case size > maxBlockNamesBytes:
			return refuse(ErrTooLarge, "blockNames", "have more than %d bytes", maxBlockNamesBytes)
		case !utf8.ValidString(name):
			return refuse(ErrBadRequest, field, "is not valid UTF-8")
		case err == nil:
			return refuse(ErrBadRequest, field, "is a number, which could be mistaken for an id")
		}
		if other, twice := seen[name]; twice {
			return refuse(ErrBadRequest, field, "is %.80q, as blockNames[%d] is", name, other)
		}
		seen[name] = id
	}
	return nil
}
