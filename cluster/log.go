package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"
)

// A carefulHandler calls a handler of the user's on a goroutine that nothing else needs: most lines are written on
// goroutines of the node's, or of the NATS client's, where one that panics would end the process, and one that hangs,
// or ends its goroutine, the node.
type carefulHandler struct {
	user  slog.Handler
	lines *lines
}

func careful(l *slog.Logger) *slog.Logger { return slog.New(carefulHandler{l.Handler(), new(lines)}) }

// Enabled is always true: Handle asks the user's.
func (h carefulHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h carefulHandler) Handle(ctx context.Context, r slog.Record) error {
	h.lines.write(func() {
		if h.user.Enabled(ctx, r.Level) {
			_ = h.user.Handle(ctx, r)
		}
	})
	return nil
}

func (h carefulHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return carefulHandler{h.user.WithAttrs(attrs), h.lines}
}

func (h carefulHandler) WithGroup(name string) slog.Handler {
	return carefulHandler{h.user.WithGroup(name), h.lines}
}

// lines are written one after the other, by a goroutine that ends when there are none.
type lines struct {
	mu sync.Mutex
	// mu guards the following.
	queue   []line
	writing bool // a goroutine is at it
	hangs   bool // the handler takes so long that nobody waits for it until it has written all
}

type line struct {
	write   func()
	written chan struct{}
}

const (
	// lineWithin is how long a line is waited for, so that a line is written when what it tells of goes on.
	lineWithin = 100 * time.Millisecond

	maxLines = 256 // that wait; further ones are lost
)

func (l *lines) write(write func()) {
	this := line{write, make(chan struct{})}
	l.mu.Lock()
	if len(l.queue) >= maxLines {
		l.mu.Unlock()
		return
	}
	l.queue = append(l.queue, this)
	if !l.writing {
		l.writing = true
		go l.run()
	}
	hangs := l.hangs
	l.mu.Unlock()
	if !hangs {
		l.await(this)
	}
}

func (l *lines) await(this line) {
	timer := time.NewTimer(lineWithin)
	defer timer.Stop()
	select {
	case <-this.written:
	case <-timer.C:
		l.mu.Lock()
		l.hangs = l.writing
		l.mu.Unlock()
	}
}

func (l *lines) run() {
	returned := false
	defer func() {
		if !returned { // the handler has panicked, or ended the goroutine
			_ = recover()
			go l.run()
		}
	}()
	for next, ok := l.next(); ok; next, ok = l.next() {
		func() {
			defer close(next.written)
			next.write()
		}()
	}
	returned = true
}

func (l *lines) next() (next line, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.writing, l.hangs = false, false
		return line{}, false
	}
	next, l.queue = l.queue[0], l.queue[1:]
	return next, true
}

// textOf is what a panic was given, safe to print: a value of the user's may contain itself, and its methods may panic.
func textOf(value any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T without a text", value)
		}
	}()
	switch v := value.(type) {
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	}
	if kind := reflect.ValueOf(value).Kind(); kind < reflect.Array || kind == reflect.String {
		return fmt.Sprint(value)
	}
	return fmt.Sprintf("a %T", value)
}
