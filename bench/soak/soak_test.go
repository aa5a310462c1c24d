package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// The tests' own binary is started again by the test of both processes.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveForm {
		serve(os.Stdin, os.Stdout)
		return
	}
	libnettest.VerifyMain(m)
}

func TestAShortSoakFindsNothing(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc")
	}
	o := options{lasts: 4 * time.Second, round: 2 * time.Second, every: time.Second, load: 1, clients: 0.5, out: t.TempDir()}
	if err := run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	csv, err := os.ReadFile(filepath.Join(o.out, "soak.csv"))
	if err != nil || strings.Count(string(csv), "\n") < 4 {
		t.Errorf("%s, %v", csv, err)
	}
	svg, err := os.ReadFile(filepath.Join(o.out, "soak.svg"))
	if err != nil || !strings.Contains(string(svg), "<svg") {
		t.Errorf("no chart: %v", err)
	}
}

// quietPoints is a soak whose servers' figures are f of the round's number.
func quietPoints(f func(round int) usage) (samples []sample) {
	for i := range 20 {
		s := sample{At: time.Duration(i) * time.Minute, Round: i, Quiet: true, Server: f(i), Client: usage{RSS: 20 * mib}}
		samples = append(samples, s, sample{At: s.At + time.Second, Round: i + 1, Open: 100, Server: usage{RSS: math.MaxInt32}})
	}
	return samples
}

func TestTheVerdictTellsGrowthFromWarmingUp(t *testing.T) {
	flat := usage{RSS: 30 * mib, Heap: 2 * mib, Goroutines: 5, Descriptors: 9}
	for name, test := range map[string]struct {
		server func(round int) usage
		ok     bool
	}{
		"flat":           {func(int) usage { return flat }, true},
		"warms up":       {func(round int) usage { u := flat; u.RSS -= int64(max(0, 4-round)) * 5 * mib; return u }, true},
		"one outlier":    {func(round int) usage { u := flat; u.RSS += int64(round/19) * 50 * mib; return u }, true},
		"memory grows":   {func(round int) usage { u := flat; u.RSS += int64(round) * mib / 2; return u }, false},
		"heap grows":     {func(round int) usage { u := flat; u.Heap += int64(round) * mib / 10; return u }, false},
		"goroutines":     {func(round int) usage { u := flat; u.Goroutines += round / 2; return u }, false},
		"descriptors":    {func(round int) usage { u := flat; u.Descriptors += round / 2; return u }, false},
		"memory shrinks": {func(round int) usage { u := flat; u.RSS -= int64(round) * mib / 2; return u }, true},
	} {
		if v := judge(quietPoints(test.server), new(faults)); v.ok != test.ok {
			t.Errorf("%s: ok is %v\n%s", name, v.ok, v.text)
		}
	}
}

func TestTheVerdictTellsFaultsAndSessionsLeftOpen(t *testing.T) {
	flat := func(int) usage { return usage{} }
	var f faults
	f.add("something")
	if v := judge(quietPoints(flat), &f); v.ok || !strings.Contains(v.text, "something") {
		t.Errorf("%s", v.text)
	}
	samples := quietPoints(flat)
	samples[len(samples)-2].Open = 1
	if v := judge(samples, new(faults)); v.ok {
		t.Errorf("%s", v.text)
	}
}

func TestAnAccountThatDoesNotAddUpIsAFault(t *testing.T) {
	for name, wrong := range map[string]func(*life){
		"a message too many": func(l *life) { l.sent.Add(1) },
		"a member left": func(l *life) {
			codec := protocol().NewCodec(nowhere{})
			l.members.Put(1, libnet.NewSession(codec, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, &stations[0])
			wrong(l)
			if a := l.stop(); len(a.Faults) != 1 {
				t.Errorf("%q", a.Faults)
			}
		})
	}
	if a := newLife(t, &stations[0]).stop(); len(a.Faults) != 0 {
		t.Errorf("%q", a.Faults)
	}
}

func newLife(t *testing.T, st *station) *life {
	listener, err := st.listen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &life{station: st, server: st.server(listener, nil), served: make(chan struct{})}
	l.run()
	return l
}

type nowhere struct{}

func (nowhere) Read([]byte) (int, error)    { return 0, os.ErrClosed }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func TestClientsNoticeWhatIsOutOfOrder(t *testing.T) {
	echo, drops := &stations[0], &station{name: "hub-drop", hub: true, onFull: libnet.DropOldest}
	for _, test := range []struct {
		station *station
		last, n uint64
		fault   bool
	}{
		{echo, 0, 1, false}, {echo, 3, 4, false}, {echo, 3, 3, true}, {echo, 3, 2, true}, {echo, 3, 5, true}, {echo, 0, 2, true},
		{drops, 0, 7, false}, {drops, 7, 9, false}, {drops, 7, 7, true}, {drops, 7, 6, true},
	} {
		var f faults
		c := newCrowd(context.Background(), nil, nil, &f)
		c.inOrder(test.station, test.last, test.n)
		if _, n := f.list(); n > 0 != test.fault {
			t.Errorf("%s: %d behind %d: %d faults", test.station.name, test.n, test.last, n)
		}
	}
}

func TestWhatClientsSawMustFitWhatServersCounted(t *testing.T) {
	var f faults
	c := newCrowd(context.Background(), nil, nil, &f)
	n := c.counts["hub-drop"]
	n.received.Store(10)
	n.missed.Store(3)
	c.check([]account{{Station: "hub-drop", Out: 10, Discarded: 3}})
	if first, all := f.list(); all != 0 {
		t.Fatalf("%q", first)
	}
	c.check([]account{{Station: "hub-drop", Out: 9, Discarded: 2, Faults: []string{"its own"}}})
	if first, all := f.list(); all != 3 {
		t.Errorf("%q", first)
	}
}

func TestThePaceFollowsTheLoad(t *testing.T) {
	p := newPace(0.5)
	before := p.interval.Load()
	p.adjust(1)
	if p.interval.Load() <= before {
		t.Error("twice the load does not slow it down")
	}
	for range 100 {
		p.adjust(0)
	}
	if got := time.Duration(p.interval.Load()); got != shortestInterval {
		t.Errorf("without load the interval is %v", got)
	}
	for range 100 {
		p.adjust(100)
	}
	if got := time.Duration(p.interval.Load()); got != longestInterval {
		t.Errorf("with too much the interval is %v", got)
	}
}

func TestFaultsAreCountedBeyondThoseThatAreKept(t *testing.T) {
	var f faults
	for i := range 100 {
		f.add("%s", fmt.Sprint("fault ", i))
	}
	if first, all := f.list(); len(first) != keptFaults || all != 100 {
		t.Errorf("%d kept, %d in all", len(first), all)
	}
}
