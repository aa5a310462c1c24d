package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const clientHelp = `A line is one of these:
  2 hello      says hello to user 2
  #7 hello     says hello in group 7, and joins it
  ?2           asks whether user 2 is online
`

// maxLine is more than the longest message.
const maxLine = 64 << 10

// lineTimeout bounds how long one line of the user's is worked on, through lost connections and all.
const lineTimeout = 30 * time.Second

func runClient(ctx context.Context, args []string, std std) error {
	flags := newFlags("client", std)
	gateway := flags.String("gateway", "", "the gateway's `address`")
	user := flags.Int64("user", 0, "the user's `id`")
	token := flags.String("token", "", "the user's `token`, as im token prints it")
	if err := flags.parse(args); err != nil {
		return err
	}
	if *gateway == "" || *user < 1 || *token == "" {
		return errors.New("a client needs -gateway, -user and -token")
	}
	t := &terminal{std: std}
	t.client = client.Start(client.Options{
		Gateway: *gateway, User: *user, Token: func() string { return *token },
		OnMessage: t.message, OnState: t.state, Logger: flags.logger(),
	})
	defer func() { t.client.Close(); <-t.client.Done() }()
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := t.client.Ready(starting); err != nil {
		return fmt.Errorf("not logged in: %w", err)
	}
	t.printf("%s", clientHelp)
	return t.converse(ctx)
}

// terminal is a client at a keyboard.
type terminal struct {
	client *client.Client
	std    std
	mu     sync.Mutex // one line at a time
}

func (t *terminal) printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.std.out, format, args...)
}

// message is told what others say. What they typed is shown without the characters that a terminal obeys.
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
	go func() { // ends with the input, or with the process
		defer close(lines)
		reader := bufio.NewReaderSize(t.std.in, maxLine)
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
	}()
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
