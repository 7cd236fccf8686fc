package codec

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skerry-dev/skerry/codec/storev1"
)

// FeatureLevel is the newest form of what is stored that this build reads and writes. It rises by one with a release that writes
// something which the release before does not read, such as a new event; a new field of a document needs none, since older builds keep it.
const FeatureLevel uint32 = 1

// Forms says since which feature level what is newer than the first may be written: by the full name of the field of an entry, or of an
// event's kind, such as skerry.store.v1.PlayerEvent.renamed. It is never changed.
type Forms map[protoreflect.FullName]uint32

// NewerForms returns the forms of this build that are newer than the first level. There are none yet.
func NewerForms() Forms { return nil }

// Level returns the least feature level of a build that reads e whole.
func (f Forms) Level(e *storev1.Entry) uint32 {
	level := uint32(1)
	if len(f) == 0 {
		return level
	}
	e.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		level = max(level, f[field.FullName()])
		if field.IsList() && field.Kind() == protoreflect.MessageKind {
			for i := range value.List().Len() {
				value.List().Get(i).Message().Range(func(kind protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
					level = max(level, f[kind.FullName()])
					return true
				})
			}
		}
		return true
	})
	return level
}
