package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/system"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// smallDemo is one whose outage outlasts the servers' leases, and no more. How quick things are it does not judge:
// other tests run beside it.
var smallDemo = Options{
	clients: 300, users: 40, twins: 10,
	talking: 300 * time.Millisecond, outage: registry.TTL + time.Second, delivery: imtest.Patience,
	limits: limits{uneven: 2, drainNotice: imtest.Patience, crashNotice: imtest.Patience, etcdReturn: imtest.Patience},
}

func demonstrate(ctx context.Context, o Options) (out string, err error) {
	var lines bytes.Buffer
	s := system.Options{Logger: slog.New(slog.DiscardHandler)}
	err = Run(ctx, s, o, &lines, io.Discard)
	return lines.String(), err
}

func TestASmallDemonstrationKeepsItsPromises(t *testing.T) {
	t.Parallel()
	out, err := demonstrate(t.Context(), smallDemo)
	t.Logf("\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "PASS  ") {
			t.Errorf("%s", line)
		}
	}
	if len(lines) != 15 {
		t.Errorf("%d lines, want 14 promises and their sum", len(lines))
	}
}

func TestADemonstrationFailsForMessagesThatAreLostAndThingsThatTakeTooLong(t *testing.T) {
	t.Parallel()
	o := smallDemo
	o.delivery, o.outage = 500*time.Millisecond, time.Second
	o.miss = func(user int64, _ string) bool { return user%2 == 0 }
	o.limits = limits{uneven: 0.9} // and not a moment for the rest
	out, err := demonstrate(t.Context(), o)
	t.Logf("\n%s", out)
	if !errors.Is(err, trial.ErrBroken) {
		t.Errorf("it ended with %v", err)
	}
	for _, name := range []string{
		"spread", "messages ", "killed server", "crash noticed", "drained server", "drain noticed",
		"messages, no etcd", "etcd is back", "all messages",
	} {
		if !strings.Contains(out, "FAIL  "+name) {
			t.Errorf("%q is taken for kept", name)
		}
	}
	if !strings.Contains(out, "PASS  message ids") { // nothing is wrong with those
		t.Error("the ids are taken for broken")
	}
}

func TestADemonstrationThatIsInterruptedEndsSoonAndClaimsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := smallDemo
	o.clients, o.talking = 30, time.Hour
	interrupt := time.AfterFunc(2*time.Second, cancel) // while they talk
	defer interrupt.Stop()
	out, err := demonstrate(ctx, o)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if strings.Contains(out, "promises") {
		t.Errorf("it claims:\n%s", out)
	}
}
