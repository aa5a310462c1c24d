package libnet

import (
	"fmt"
	"log/slog"
	"net"

	"github.com/libnet-go/libnet/internal/sockets"
)

func (c *Config) socketOptions() sockets.Options {
	return sockets.Options{SendBuffer: c.sendBuffer(), PeerTimeout: c.peerTimeout()}
}

// setSocketOptions sets what bounds the cost of a silent peer. What the kernel refuses is logged and is no error. A conn that
// is no stream is one, and so is what a conn's own SetWriteBuffer answers.
func setSocketOptions(conn net.Conn, c *Config) error {
	o := c.socketOptions()
	if err := guardConn(conn, o.AskSendBuffer); err != nil {
		return err
	}
	err := guardConn(conn, o.Set)
	if err == sockets.ErrNotAStream {
		return err
	}
	if err != nil {
		logRefusedOption(c, err)
	}
	return nil
}

// guardConn has f call methods of the user's conn, which may panic.
func guardConn(conn net.Conn, f func(net.Conn) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w in a connection: %s", ErrPanic, describe(r))
		}
	}()
	return f(conn)
}

// optionLines limits the lines about refused options, of all servers and dialers.
var optionLines lineLimit

func logRefusedOption(c *Config, err error) {
	dialLog.write(&optionLines, c.logger(), slog.LevelWarn, "libnet: socket option refused", slog.String("error", errorText(err)))
}
