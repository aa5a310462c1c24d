package resume_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	libnettest.VerifyMain(m)
}

// patient is for what must not take for ever.
var patient, _ = context.WithTimeout(context.Background(), 30*time.Minute)
