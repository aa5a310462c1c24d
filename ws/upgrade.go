package ws

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// An upgrade is the ResponseWriter that the WebSocket library gets to see. The answer that agrees to the upgrade is
// written by Hijack, on the connection itself: what a ResponseWriter was told before, it may have sent or not, and
// the peer of one that turns out to have no connection must not be told that all is well.
type upgrade struct {
	http.ResponseWriter
	request  *http.Request
	options  *options
	answered bool // whatever else is written is not for the peer

	// Set by Hijack.
	deflates bool
	link     *link
	reader   *bufio.Reader // nil if there was none
}

func (u *upgrade) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols && !u.answered {
		u.ResponseWriter.WriteHeader(status)
	}
}

func (u *upgrade) Write(p []byte) (int, error) {
	if u.answered {
		return len(p), nil
	}
	return u.ResponseWriter.Write(p)
}

// Hijack is called once the request is known to be right.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	u.answered = true
	extensions, err := u.admit()
	if err != nil {
		u.refuse(refusalOf(err))
		return nil, nil, err
	}
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err == nil && conn == nil {
		err = http.ErrNotSupported
	}
	if err != nil {
		u.cannot()
		return nil, nil, err
	}
	defer func() {
		if u.link == nil { // also when the connection panics
			_ = conn.Close()
		}
	}()
	u.deflates = agreeTo(extensions, u.Header())
	if err := switchProtocols(conn, u.Header()); err != nil {
		return nil, nil, err
	}
	var body io.Reader = conn
	if rw != nil && rw.Reader != nil {
		u.reader = rw.Reader
		early, _ := u.reader.Peek(u.reader.Buffered())
		body = io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn)
	}
	u.link = newLink(sockets.FromHTTP(conn), body, false)
	unused := unclosed{conn}
	return unused, bufio.NewReadWriter(bufio.NewReaderSize(unused, 16), bufio.NewWriterSize(unused, 16)), nil
}

// admit has the user's Check look at the request. Its panic is net/http's to log, as that of any handler: with a value
// that has a text, since one whose own methods panic would end the process there.
func (u *upgrade) admit() (extensions string, err error) {
	defer func() {
		switch v := recover().(type) {
		case nil: // it has returned, or ended its goroutine
		case error:
			if v != http.ErrAbortHandler {
				v = usercode.Asked(v)
			}
			panic(v)
		default:
			panic(usercode.Text(v))
		}
	}()
	return u.options.admit(u.request)
}

// early returns what was read beyond the request.
func (u *upgrade) early() []byte {
	if u.reader == nil {
		return nil
	}
	early, _ := u.reader.Peek(u.reader.Buffered())
	return bytes.Clone(early)
}

// refuse answers a request that the user refuses.
func (u *upgrade) refuse(e *HandshakeError) {
	u.withdraw()
	h := u.Header()
	maps.Copy(h, e.fields())
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	u.ResponseWriter.WriteHeader(e.StatusCode)
	_, _ = u.ResponseWriter.Write(e.text())
}

// withdraw takes out of the answer what agrees to the upgrade.
func (u *upgrade) withdraw() {
	for _, key := range upgradeFields {
		u.Header().Del(key)
	}
}

// cannot answers a request whose connection cannot be taken over.
func (u *upgrade) cannot() {
	u.withdraw()
	http.Error(u.ResponseWriter, "WebSocket is not possible here", http.StatusNotImplemented)
}

var upgradeFields = []string{"Upgrade", "Connection", "Sec-Websocket-Accept", "Sec-Websocket-Protocol"}

// switchProtocols answers that the connection is a WebSocket from here on. It clears deadlines: those that are set
// are the HTTP server's.
func switchProtocols(conn net.Conn, h http.Header) error {
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := conn.Write(switching(h)); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// switching is the answer that agrees.
func switching(h http.Header) []byte {
	var answer bytes.Buffer
	answer.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.WriteSubset(&answer, ofBody)
	answer.WriteString("\r\n")
	return answer.Bytes()
}
