package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Player reads a player's document without a session. [ErrNotFound] means that it is proven not to exist.
func (c *Client) Player(ctx context.Context, id string) (*skerryv1.Player, error) {
	answer, err := c.do(ctx, &call{req: skerryv1.Request{
		Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{Player: id}},
	}})
	if err != nil {
		return nil, fmt.Errorf("read player %s: %w", id, err)
	}
	return answer.GetGetPlayer().GetPlayer(), nil
}

// SavePlayer asks for a snapshot of a player without a session; it returns when that is durable. It needs scope admin.
func (c *Client) SavePlayer(ctx context.Context, id string) (seq int64, err error) {
	answer, err := c.do(ctx, &call{req: skerryv1.Request{
		Request: &skerryv1.Request_SavePlayer{SavePlayer: &skerryv1.SavePlayerRequest{Player: id}},
	}})
	if err != nil {
		return 0, fmt.Errorf("save player %s: %w", id, err)
	}
	return answer.GetSavePlayer().GetSeq(), nil
}

// Players yields the ids of the space's players, rising, after the given one, a page at a time; it stops at the first error.
// Without a deadline in ctx each page has Options.Timeout. Nothing is tried again: go on after the last id.
func (c *Client) Players(ctx context.Context, after string) iter.Seq2[string, error] {
	first := after
	return pages("list players", func(after string) ([]string, string, error) {
		if after == "" {
			after = first
		}
		limited, cancel := c.bounded(ctx)
		defer cancel()
		page, err := c.api.ListPlayers(limited, &skerryv1.ListPlayersRequest{After: after, Limit: 1000})
		return page.GetPlayers(), page.GetNext(), err
	})
}
