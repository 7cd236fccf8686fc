package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	errBroken   = errors.New("connection lost")
	errBadFrame = errors.New("not the protocol")
)

// natsConn is one connection; its callers' requests are pipelined.
type natsConn struct {
	conn  net.Conn
	inbox string        // of this connection alone
	wake  chan struct{} // capacity 1: a token when there is something to write, or it ends
	end   sync.WaitGroup
	mu    struct {
		sync.Mutex
		out     []byte // to be written; bounded by the callers, who wait
		waiting map[uint64]chan []byte
		next    uint64
		over    bool
	}
}

func dialNATS(ctx context.Context, address string) (*natsConn, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	c := &natsConn{conn: conn, wake: make(chan struct{}, 1), inbox: fmt.Sprintf("_INBOX.%x.", rand.Uint64())}
	c.mu.waiting = map[uint64]chan []byte{}
	c.mu.out = fmt.Appendf(nil, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nSUB %s* 1\r\n", c.inbox)
	c.signal()
	c.end.Go(c.send)
	c.end.Go(c.receive)
	return c, nil
}

func (c *natsConn) close() {
	_ = c.conn.Close() // receive ends, and ends the rest
	c.end.Wait()
}

func (c *natsConn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// request publishes a message and returns the body of the answer.
func (c *natsConn) request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	answered := make(chan []byte, 1)
	c.mu.Lock()
	if c.mu.over {
		c.mu.Unlock()
		return nil, errBroken
	}
	c.mu.next++
	id := c.mu.next
	c.mu.waiting[id] = answered
	c.mu.out = fmt.Appendf(c.mu.out, "PUB %s %s%d %d\r\n", subject, c.inbox, id, len(body))
	c.mu.out = append(append(c.mu.out, body...), '\r', '\n')
	c.mu.Unlock()
	c.signal()
	select {
	case answer, ok := <-answered:
		if !ok {
			return nil, errBroken
		}
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send writes until the connection ends.
func (c *natsConn) send() {
	var buf []byte
	for range c.wake {
		c.mu.Lock()
		buf, c.mu.out = c.mu.out, buf[:0]
		over := c.mu.over
		c.mu.Unlock()
		if over {
			return
		}
		if _, err := c.conn.Write(buf); err != nil {
			_ = c.conn.Close() // receive hears of it, and wakes this once more
		}
	}
}

// receive hands on answers until the connection breaks.
func (c *natsConn) receive() {
	defer func() {
		_ = c.conn.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, answered := range c.mu.waiting {
			close(answered)
		}
		c.mu.waiting, c.mu.over = nil, true
		c.signal()
	}()
	r := bufio.NewReaderSize(c.conn, 1<<16)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "PING":
			c.mu.Lock()
			c.mu.out = append(c.mu.out, "PONG\r\n"...)
			c.mu.Unlock()
			c.signal()
		case fields[0] == "MSG" && len(fields) >= 4, fields[0] == "HMSG" && len(fields) >= 5:
			if c.message(r, fields) != nil {
				return
			}
		}
	}
}

// message takes a message's body and gives it to who waits for it.
func (c *natsConn) message(r io.Reader, fields []string) error {
	const most = 1 << 20
	header, length := 0, 0
	_, err := fmt.Sscan(fields[len(fields)-1], &length)
	if err == nil && fields[0] == "HMSG" {
		_, err = fmt.Sscan(fields[len(fields)-2], &header)
	}
	if err != nil || header < 0 || header > length || length > most {
		return errBadFrame
	}
	body := make([]byte, length+2) // and the end of the line
	if _, err = io.ReadFull(r, body); err != nil {
		return err
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(fields[1], c.inbox), 10, 64)
	if err != nil {
		return nil //nolint:nilerr // not an answer
	}
	c.mu.Lock()
	answered := c.mu.waiting[id]
	delete(c.mu.waiting, id)
	c.mu.Unlock()
	if answered != nil {
		answered <- body[header:length]
	}
	return nil
}
