package reconnect_test

import (
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
