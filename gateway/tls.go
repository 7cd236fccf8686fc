package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a TLS certificate that follows its files. Its methods may be called from any goroutine.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu struct {
		sync.Mutex
		current *tls.Certificate
		seen    [2]time.Time // when the files of current were changed
		looked  time.Time
	}
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// newCertificate reads the files; they must be good at the start.
func newCertificate(certFile, keyFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := c.load(c.changed()); err != nil {
		return nil, err
	}
	return c, nil
}

// config is the TLS of a server with this certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get returns the newest certificate that could be read.
func (c *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	due := time.Since(c.mu.looked) >= lookEvery
	if due {
		c.mu.looked = time.Now()
	}
	seen := c.mu.seen
	c.mu.Unlock()
	if due {
		if changed := c.changed(); changed != seen {
			if err := c.load(changed); err != nil {
				c.logger.LogAttrs(hello.Context(), slog.LevelError, "certificate could not be read, the older one goes on", slog.Any("err", err))
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.current, nil
}

// changed returns when the files were changed last.
func (c *certificate) changed() [2]time.Time {
	var changed [2]time.Time
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			changed[i] = info.ModTime()
		}
	}
	return changed
}

func (c *certificate) load(changed [2]time.Time) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.certFile, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.current, c.mu.seen, c.mu.looked = &pair, changed, time.Now()
	return nil
}
