package reconnect_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/reconnect"
)

type hangingHandler struct {
	slog.Handler
	release chan struct{}
}

func (h hangingHandler) Handle(context.Context, slog.Record) error {
	<-h.release
	return nil
}

func TestALoggerThatDoesNotReturnHoldsUpNeitherSendNorTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hangingHandler{slog.NewTextHandler(io.Discard, nil), make(chan struct{})}
		defer close(h.release)
		attempts := 0
		c := &reconnect.Client{
			Logger:     slog.New(h),
			MaxBackoff: time.Second,
			Dial: func(context.Context) (*libnet.Session, error) {
				attempts++
				return nil, io.ErrUnexpectedEOF
			},
		}
		sent := make(chan error, 1)
		go func() { sent <- c.Send("held") }()
		select {
		case err := <-sent:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Send waits for the logger")
		}
		c.Start()
		time.Sleep(10 * time.Second)
		c.Close()
		<-c.Done()
		if attempts < 3 {
			t.Errorf("%d attempts", attempts)
		}
	})
}

// A session that the client's own Shutdown ends may be short, and have brought nothing: a program that says one thing.
func TestAShutdownIsNoAttemptThatFailed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var r recorder
		site := newSite(t, 16, r.ServeSession)
		site.up()
		var log bytes.Buffer
		told := make(chan struct{})
		c := &reconnect.Client{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Dial:   site.dial,
			OnConnect: func(_ context.Context, s *libnet.Session) error {
				s.OnClose(func() { <-told }) // Shutdown waits for that before it closes the client
				return nil
			},
			OnState: func(change reconnect.Change) {
				if change.State == reconnect.Waiting {
					close(told)
				}
			},
		}
		c.Start()
		send(t, c, "one thing")
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-c.Done()
		if stats := c.Stats(); stats.Failures != 0 || log.Len() > 0 {
			t.Errorf("%+v, and the log says %s", stats, &log)
		}
	})
}
