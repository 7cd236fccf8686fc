package node

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

type entities struct{ *actors.Host }

func (entities) Watch(ctx context.Context, _ persistence.Key, _ int64, _ func(*skerryv1.ServerEvent) error) error {
	<-ctx.Done()
	return errors.New("not yet")
}
