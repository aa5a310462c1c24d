// Package terminal is a client at a keyboard: what is typed is sent, what others say is printed.
//
//	err := terminal.Run(ctx, terminal.Options{Gateway: "127.0.0.1:7000", User: 1, Token: token, In: os.Stdin, Out: os.Stdout})
package terminal

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const help = `A line is one of these:
  2 hello      says hello to user 2
  #7 hello     says hello in group 7, and joins it
  ?2           asks whether user 2 is online
`

const (
	// maxLine is more than the longest message.
	maxLine = 64 << 10
	// loginTimeout bounds the wait for the first login.
	loginTimeout = 30 * time.Second
	// lineTimeout bounds how long one line of the user's is worked on, through lost connections and all.
	lineTimeout = 30 * time.Second
)

// Options is what Run needs. All are required but TLS and Logger, whose default is slog.Default().
type Options struct {
	Gateway string // its address
	User    int64
	Token   string
	TLS     *tls.Config // nil: no TLS
	In      io.Reader
	Out     io.Writer
	Logger  *slog.Logger
}

// terminal is a client with what it reads and writes.
type terminal struct {
	client *client.Client
	in     io.Reader
	out    io.Writer
	mu     sync.Mutex // one line at a time
}

// Run logs in and returns at the end of the input, of the client or of ctx. A goroutine of it ends with the input, at
// the latest with the process.
func Run(ctx context.Context, o Options) error {
	t := &terminal{in: o.In, out: o.Out}
	t.client = client.Start(client.Options{
		Gateway: o.Gateway, User: o.User, Token: func() string { return o.Token },
		OnMessage: t.message, OnState: t.state, TLS: o.TLS, Logger: o.Logger,
	})
	defer func() { t.client.Close(); <-t.client.Done() }()
	starting, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	if err := t.client.Ready(starting); err != nil {
		return fmt.Errorf("not logged in: %w", err)
	}
	t.printf("%s", help)
	return t.converse(ctx)
}

func (t *terminal) printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format, args...)
}

// message prints what others say, without the control characters that a terminal would obey.
func (t *terminal) message(m client.Message) {
	where := ""
	if m.Group != 0 {
		where = fmt.Sprintf(" in #%d", m.Group)
	}
	t.printf("%d%s: %s\n", m.Source, where, printable(m.Text))
}

func printable(text string) string {
	quoted := strconv.Quote(text)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}

func (t *terminal) state(server string) {
	if server == "" {
		t.printf("(not connected, trying again)\n")
		return
	}
	t.printf("(connected to %s)\n", server)
}

// converse sends what is typed until the input, the client or ctx ends.
func (t *terminal) converse(ctx context.Context) error {
	lines := make(chan string)
	go t.read(ctx, lines)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			if err := t.line(ctx, line); err != nil {
				t.printf("(%v)\n", err)
			}
		case <-t.client.Done():
			return t.client.Err()
		case <-ctx.Done():
			return nil
		}
	}
}

// read sends what is typed, line by line, and closes lines at the end of the input.
func (t *terminal) read(ctx context.Context, lines chan<- string) {
	defer close(lines)
	reader := bufio.NewReaderSize(t.in, maxLine)
	for {
		line, fits, err := readLine(reader)
		switch {
		case err != nil:
			return
		case !fits:
			t.printf("(too long: at most %d bytes a line)\n", maxLine)
			continue
		}
		select {
		case lines <- line:
		case <-ctx.Done():
			return
		}
	}
}

// readLine returns the next line, or false for one that does not fit into the reader and is skipped.
func readLine(r *bufio.Reader) (line string, fits bool, err error) {
	part, more, err := r.ReadLine()
	line, fits = string(part), !more
	for more && err == nil {
		_, more, err = r.ReadLine()
	}
	return line, fits, err
}

// line does what one line says.
func (t *terminal) line(ctx context.Context, line string) error {
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	target, text, _ := strings.Cut(line, " ")
	kind := ""
	if strings.HasPrefix(target, "#") || strings.HasPrefix(target, "?") {
		kind, target = target[:1], target[1:]
	}
	id, err := strconv.ParseInt(target, 10, 64)
	if err != nil || id < 1 || (text == "") != (kind == "?") {
		return errors.New("not understood; a line begins with 2, #7 or ?2")
	}
	switch kind {
	case "?":
		return t.presence(ctx, id)
	case "#":
		err = t.client.SendGroup(ctx, id, text)
	default:
		err = t.client.Send(ctx, id, text)
	}
	if err == nil {
		t.printf("(stored)\n")
	}
	return err
}

func (t *terminal) presence(ctx context.Context, user int64) error {
	answers, err := t.client.Presence(ctx, user)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		switch answer.Presence {
		case wire.Presence_ONLINE:
			t.printf("(user %d is online, at %s)\n", user, printable(answer.Server))
		case wire.Presence_OFFLINE:
			t.printf("(user %d is offline)\n", user)
		default:
			t.printf("(it cannot be told at the moment whether user %d is online)\n", user)
		}
	}
	return nil
}
