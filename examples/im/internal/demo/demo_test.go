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
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// smallDemo is one whose outage outlasts the servers' leases, and no more. How quick things are it does not judge: other
// tests run beside it.
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
	if !errors.Is(err, errBroken) {
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

func TestAnAuditFindsWhatIsLostTwiceOrOutOfOrder(t *testing.T) {
	t.Parallel()
	type figures struct{ lost, twice, disordered int }
	for name, test := range map[string]struct {
		acked, heard []int
		want         figures
	}{
		"as it should be":                    {[]int{1, 2, 3}, []int{1, 2, 3}, figures{}},
		"one lost":                           {[]int{1, 2, 3}, []int{1, 3}, figures{lost: 1}},
		"all lost":                           {[]int{1, 2, 3}, nil, figures{lost: 3}},
		"one twice":                          {[]int{1, 2, 3}, []int{1, 2, 2, 3}, figures{twice: 1}},
		"an old one again":                   {[]int{1, 2, 3}, []int{1, 2, 3, 1}, figures{twice: 1}},
		"two in the wrong order":             {[]int{1, 2, 3}, []int{1, 3, 2}, figures{disordered: 1}},
		"one that nobody was told is stored": {[]int{1, 3}, []int{1, 2, 3}, figures{}},
		"everything at once":                 {[]int{1, 2, 3, 4}, []int{3, 1, 3}, figures{lost: 2, twice: 1, disordered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			talks := newTalks(nil)
			talk := talks.next()
			for _, n := range test.acked {
				talk.begin(1, n)
				talk.acknowledge(1, n, []int64{2})
			}
			for _, n := range test.heard {
				talk.hear(1, 2, n)
			}
			a := talk.audit()
			if got := (figures{a.lost, a.twice, a.disordered}); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			if a.ok() != (test.want == figures{}) {
				t.Errorf("ok: %v", a.ok())
			}
		})
	}
	if (audit{}).ok() {
		t.Error("silence is taken for success")
	}
	if (audit{acked: 1, failed: errors.New("x")}).ok() {
		t.Error("a message that could not be sent is taken for none")
	}
}

func TestTheReportFailsWithOneBrokenPromise(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	r := &report{w: &lines}
	r.promise(true, "first", "%d of %d", 1, 1)
	if err := r.sum(time.Second); err != nil {
		t.Error(err)
	}
	r.promise(false, "second", "none")
	if err := r.sum(time.Second); !errors.Is(err, errBroken) {
		t.Errorf("the sum of a broken promise: %v", err)
	}
	const want = `PASS  first              1 of 1
PASS  all 1 promises were kept, in 1s
FAIL  second             none
FAIL  1 of 2 promises were not kept, in 1s
`
	if lines.String() != want {
		t.Errorf("got\n%swant\n%s", &lines, want)
	}
}

func TestAnswersAreCountedAndTheLastOneIsFound(t *testing.T) {
	t.Parallel()
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	a := &answers{all: []answer{
		{asked: at(-5), server: "a"},
		{asked: at(1), server: "b"},
		{asked: at(2), server: "a"},
		{asked: at(3), err: errors.New("none")},
		{asked: at(4), server: "b"},
	}}
	if got := a.lastNamed("a", began); got != 2*time.Millisecond {
		t.Errorf("a was last named after %v", got)
	}
	if got := a.lastNamed("a", at(3)); got != 0 {
		t.Errorf("a was named %v after it was last named", got)
	}
	if asked, failed := a.between(began, at(3)); asked != 3 || failed != 1 {
		t.Errorf("%d answers, %d failed; want 3 and 1", asked, failed)
	}
}

func TestNumbersHaveCommas(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 1000001: "1,000,001"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
