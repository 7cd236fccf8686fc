package peers

import (
	"encoding/base64"
	"math/rand/v2"
)

// documentBytes is how long a player's document is everywhere.
const documentBytes = 4096

// documents are different ones, of text that hardly shrinks: random base64.
type documents []string

// makeDocuments returns always the same.
func makeDocuments() documents {
	const different = 64
	rng := rand.NewChaCha8([32]byte{})
	docs := make(documents, different)
	for i := range docs {
		raw := make([]byte, documentBytes/4*3)
		_, _ = rng.Read(raw) // never fails
		docs[i] = base64.StdEncoding.EncodeToString(raw)
	}
	return docs
}

func (d documents) of(i int) string { return d[i%len(d)] }

func (d documents) random() string { return d[rand.IntN(len(d))] }
