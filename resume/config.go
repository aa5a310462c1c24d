package resume

import (
	"math"
	"time"

	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/setting"
)

// Config is what can be set on both ends. Zero means the default, a negative number none.
type Config struct {
	// Marshaler turns the application's messages into bytes; default [codec.Bytes].
	Marshaler codec.Marshaler

	// Window is how long a session is kept that has no connection; default 2 minutes. Negative: it ends with its
	// connection.
	Window time.Duration

	// MaxMessages and MaxBytes bound what a session keeps of its messages that the peer has not acknowledged: beyond,
	// Send answers [libnet.ErrSessionBlocked]. They also bound what the peer may have unacknowledged, and so what a
	// session holds of messages that have arrived and that nobody has received: of both ends' numbers the smaller
	// counts. Default 1,024 messages and 1 MiB, of which each message counts for its length; negative: no bound but the
	// other.
	MaxMessages, MaxBytes int

	// AckDelay bounds how long an acknowledgement waits for a message to travel with; default 50 ms. Negative: each
	// message is acknowledged at once.
	AckDelay time.Duration
}

const (
	defaultWindow      = 2 * time.Minute
	defaultMaxMessages = 1024
	defaultMaxBytes    = 1 << 20
	defaultAckDelay    = 50 * time.Millisecond

	noBound = math.MaxInt32 // as it is told to the peer
)

func (c *Config) window() time.Duration   { return resolve(c.Window, defaultWindow, 0) }
func (c *Config) ackDelay() time.Duration { return resolve(c.AckDelay, defaultAckDelay, 0) }
func (c *Config) limits() limits {
	return limits{
		messages: int32(min(resolve(c.MaxMessages, defaultMaxMessages, noBound), noBound)),
		bytes:    int32(min(resolve(c.MaxBytes, defaultMaxBytes, noBound), noBound)),
	}
}

func (c *Config) marshaler() codec.Marshaler {
	if c.Marshaler == nil {
		return codec.Bytes
	}
	return c.Marshaler
}

func resolve[T int | time.Duration](set, byDefault, none T) T {
	return setting.Resolve(set, byDefault, none)
}

// limits bound what may be unacknowledged.
type limits struct{ messages, bytes int32 }

// with returns what both ends keep to.
func (l limits) with(peer limits) limits {
	return limits{min(l.messages, peer.messages), min(l.bytes, peer.bytes)}
}

// ackEvery is how many messages, or bytes of them, an acknowledgement waits for at the most: a quarter of what may be
// unacknowledged, so that the peer's window never closes for want of one.
func (l limits) ackEvery() limits { return limits{max(1, min(l.messages/4, 32)), max(1, l.bytes/4)} }
