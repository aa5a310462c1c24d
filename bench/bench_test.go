package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests' own binary is started again by the test of the processes.
func TestMain(m *testing.M) {
	if isChild, err := runChild(os.Args[1:]); isChild {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	settleTime = time.Millisecond
	os.Exit(m.Run())
}

// smallJob is a row short enough for a test. It asserts nothing about time.
func smallJob(kind rowKind) job {
	return job{
		Row:      row{Name: "small", Kind: kind, Conns: 3, Window: 4, Size: 64},
		Warm:     time.Millisecond,
		Window:   20 * time.Millisecond,
		Patience: 5 * time.Second,
	}
}

// skipIfHidden leaves out, under the race detector, servers whose buffers come from the pools of nbio. Its functions
// are marked as not to be instrumented (go:norace), so that the detector does not learn what orders them.
func skipIfHidden(t *testing.T, s server) {
	t.Helper()
	if raceDetector() && strings.HasPrefix(s.name, "nbio") && s.over != overTCP {
		t.Skip("nbio hides from the race detector what orders its buffers")
	}
}

// serveHere gives the job to a server within this process.
func serveHere(t testing.TB, s server, j job) Result {
	t.Helper()
	address, err := s.start(j.Row.Kind)
	if err != nil {
		t.Fatal(err)
	}
	j.Over = s.over
	return loadHere(t, address, j)
}

func loadHere(t testing.TB, address net.Addr, j job) Result {
	t.Helper()
	control, err := serveControl()
	if err != nil {
		t.Fatal(err)
	}
	j.Address, j.Control = address.String(), control.String()
	return runJob(j)
}

func TestEveryServerDoesEveryRowItOffers(t *testing.T) {
	for _, kind := range []rowKind{echoKind, churnKind, idleKind, sleepKind, broadcastKind} {
		for _, s := range servers {
			if !s.can(kind) {
				continue
			}
			t.Run(string(kind)+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				skipIfHidden(t, s)
				r := serveHere(t, s, smallJob(kind))
				if r.Error != "" || r.Count == 0 || r.Rate == 0 || r.P50 == 0 || r.P99 < r.P50 || r.Max < r.P99 {
					t.Errorf("result %+v", r)
				}
				if disturbed := kind == sleepKind; disturbed != (r.CalmP99 != 0) {
					t.Errorf("p99 before the disturbance is %v in a row of kind %s", r.CalmP99, kind)
				}
			})
		}
	}
}

// What comes in pieces, and does not fit into one read, is where a server by hand goes wrong.
func TestEveryServerFindsTheFramesInWhatItReads(t *testing.T) {
	for _, s := range servers {
		if !s.can(echoKind) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			skipIfHidden(t, s)
			address, err := s.start(echoKind)
			if err != nil {
				t.Fatal(err)
			}
			c := &client{job: job{Address: address.String(), Patience: 10 * time.Second, Over: s.over}}
			defer c.closeAll()
			conns, err := c.dial(2)
			if err != nil {
				t.Fatal(err)
			}
			pieces := c.makeBatch(plainMark, 64, 1, 3000)
			for i, end := 0, 0; end < len(pieces.out); i++ {
				begin := end
				end = min(begin+[]int{1, 1, 40, 27, 1000, 1}[i%6], len(pieces.out))
				if _, err := conns[0].Write(pieces.out[begin:end]); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			reply := make([]byte, len(pieces.back))
			if _, err := io.ReadFull(conns[0], reply); err != nil || !bytes.Equal(reply, pieces.back) {
				t.Errorf("what came in pieces is answered with %d bytes, want %d: %v", len(reply), len(pieces.back), err)
			}
			large := c.makeBatch(plainMark, 65000, 1, 65000, 40, 65000, 30000)
			if err := exchange(conns[1], large, make([]byte, len(large.back))); err != nil {
				t.Errorf("messages of 65,000 bytes: %v", err)
			}
		})
	}
}

func TestARowsPayloadsDoubleWithinAWindow(t *testing.T) {
	if got, want := (row{Window: 4, From: 32, Size: 100}).sizes(), []int{32, 64, 100, 100}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := (row{Window: 2, Size: 7}).sizes(), []int{7, 7}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestABusyFewTakeAllConnectionsInTurn(t *testing.T) {
	s, err := findServer("net")
	if err != nil {
		t.Fatal(err)
	}
	j := smallJob(echoKind)
	j.Row.Conns, j.Row.Busy, j.Row.From = 6, 2, 8
	if r := serveHere(t, s, j); r.Error != "" || r.Count == 0 {
		t.Errorf("result %+v", r)
	}
}

func TestASlowMemberStallsTheLoopAndNotTheQueues(t *testing.T) {
	for name, stalls := range map[string]bool{"net": true, "net-chan": false, "libnet": false, "libnet-event": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := findServer(name)
			if err != nil {
				t.Fatal(err)
			}
			j := smallJob(slowKind)
			j.Patience = 2 * time.Second
			r := serveHere(t, s, j)
			got := strings.HasPrefix(r.Error, "stalled")
			for range 2 { // on a machine that is busy elsewhere the slow member may not be clogged yet when it counts as such
				if got || !stalls {
					break
				}
				r = serveHere(t, s, j)
				got = strings.HasPrefix(r.Error, "stalled")
			}
			if got != stalls || !stalls && r.Error != "" {
				t.Errorf("stalls is %t, want %t: %+v", got, stalls, r)
			}
			if r.CalmP99 == 0 {
				t.Error("what was measured before the slow member came is lost")
			}
		})
	}
}

func TestTheClientNoticesAWrongReply(t *testing.T) {
	address, err := accept(func(conn net.Conn) {
		for {
			frame, err := readFrame(conn, nil)
			if err != nil {
				return
			}
			frame[len(frame)-1]++
			conn.Write(frame)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []rowKind{echoKind, churnKind, idleKind, sleepKind} {
		if r := loadHere(t, address, smallJob(kind)); r.Error != errWrongReply.Error() {
			t.Errorf("%s: error %q, want %q", kind, r.Error, errWrongReply)
		}
	}
}

func TestAServerThatStallsIsAnErrorAndNoHang(t *testing.T) {
	address, err := accept(func(conn net.Conn) { readFrame(conn, nil); select {} })
	if err != nil {
		t.Fatal(err)
	}
	j := smallJob(echoKind)
	j.Patience = 50 * time.Millisecond
	if r := loadHere(t, address, j); !strings.HasPrefix(r.Error, "stalled") {
		t.Errorf("error %q, want one of a stall", r.Error)
	}
}

func TestServerAndLoadRunAsProcesses(t *testing.T) {
	s, err := findServer("net")
	if err != nil {
		t.Fatal(err)
	}
	j := smallJob(echoKind)
	j.Profile = t.TempDir() + "/cpu.pprof"
	r := measureOnce(t.Context(), s, j)
	if r.Error != "" || r.Count == 0 || r.RSS == 0 {
		t.Errorf("result %+v", r)
	}
	if info, err := os.Stat(j.Profile); err != nil || info.Size() == 0 {
		t.Errorf("no profile was written: %v", err)
	}
}

func TestALibraryThatLogsToTheStandardOutputServesAsWell(t *testing.T) {
	for _, name := range []string{"gnet", "nbio"} {
		s, err := findServer(name)
		if err != nil {
			t.Fatal(err)
		}
		if r := measureOnce(t.Context(), s, smallJob(echoKind)); r.Error != "" || r.Count == 0 {
			t.Errorf("%s: result %+v", name, r)
		}
	}
}

func TestAProcessSaysWhyItFailed(t *testing.T) {
	r := measureOnce(t.Context(), server{design: design{name: "no such"}}, smallJob(echoKind))
	if !strings.Contains(r.Error, `no server "no such"`) {
		t.Errorf("error %q", r.Error)
	}
}

func TestAServerEndsWithItsStandardInput(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := startChild(ctx, nil, serveForm, "net", string(echoKind))
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	if _, err := c.stdout.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestControlAnswersAnUnknownCommandWithAnError(t *testing.T) {
	address, err := serveControl()
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialControl(address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	if _, err := c.ask("dance"); err == nil || !strings.Contains(err.Error(), `no command "dance"`) {
		t.Errorf("error %v", err)
	}
	if u, err := c.ask(usageCommand); err != nil || u.CPU == 0 || u.RSS == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestAJobSurvivesTheWayToItsProcess(t *testing.T) {
	j := smallJob(sleepKind)
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	var back job
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(back) != fmt.Sprint(j) {
		t.Errorf("got %+v, want %+v", back, j)
	}
}
