package history_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(memberEnv); dir != "" {
		runMember(dir)
		return
	}
	imtest.WaitingMain(m)
}

// memberEnv has this test binary be a member of a NATS cluster: its folder, as embedded.WriteNATSCluster wrote it.
const memberEnv = "IM_HISTORY_TEST_MEMBER"

// runMember serves until it is killed.
func runMember(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	member, err := embedded.OpenNATSMember(dir)
	if err == nil {
		err = member.Start(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-ctx.Done()
	member.Stop()
}

// startMember starts a process.
func startMember(t testing.TB, dir string) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^$")
	command.Env = append(os.Environ(), memberEnv+"="+dir)
	command.Stderr = t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command
}

// leaderBound is how long nobody may be acknowledged anything when the stream's leader is killed. NATS itself waits 4
// to 9 s for a silent leader, the less patient of two replicas decides.
const leaderBound = 10 * time.Second

func TestAKilledLeaderStopsTheAcknowledgementsForAMomentAndLosesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for an election")
	}
	members, err := embedded.WriteNATSCluster(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	processes := make(map[string]*exec.Cmd)
	var urls []string
	for _, member := range members {
		processes[member.Name()] = startMember(t, member.Dir())
		urls = append(urls, member.URL())
	}
	var fleet []*history.History
	for i := range members {
		conn := connectLate(t, slices.Concat(urls[i:], urls[:i]))
		h, err := history.Open(imtest.Bounded(t), conn, history.Options{Replicas: 3, Logger: imtest.Quiet})
		if err != nil {
			t.Fatal(err)
		}
		fleet = append(fleet, h)
	}
	const writers = 16
	var mu sync.Mutex
	acknowledged := make([][]string, writers)
	times := []time.Time{time.Now()}
	var writing sync.WaitGroup
	end := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for n := 0; ; n++ {
				m := history.Message{ID: int64(w*100_000 + n + 1), Source: int64(w + 100), Target: int64(w + 1), ClientID: fmt.Sprint(w, "-", n), Text: fmt.Sprint(n)}
				for { // as a client repeats it
					if _, err := fleet[w%3].Store(imtest.Bounded(t), m); err == nil {
						break
					}
				}
				mu.Lock()
				acknowledged[w] = append(acknowledged[w], m.Text)
				times = append(times, time.Now())
				mu.Unlock()
				select {
				case <-end:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	time.Sleep(time.Second)
	leader := leaderOf(t, urls)
	if err := processes[leader].Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	imtest.Eventually(t, "acknowledgements after the kill", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return times[len(times)-1].After(killed.Add(3*time.Second)) && time.Since(killed) > 5*time.Second
	})
	time.Sleep(time.Second)
	close(end)
	writing.Wait()
	longest := time.Duration(0)
	for i := range times[1:] {
		longest = max(longest, times[i+1].Sub(times[i]))
	}
	t.Logf("%d messages acknowledged; the longest time without one, with %s killed: %v", len(times)-1, leader, longest.Round(time.Millisecond))
	if longest > leaderBound {
		t.Errorf("no acknowledgement for %v", longest)
	}
	for w := range writers {
		got, _, _ := readAll(t, fleet[(w+1)%3], history.Query{User: int64(w + 1)})
		if !slices.Equal(got, acknowledged[w]) {
			t.Errorf("receiver %d reads %d messages, %d were acknowledged", w+1, len(got), len(acknowledged[w]))
		}
	}
}

// connectLate waits for servers that are starting.
func connectLate(t testing.TB, urls []string) *nats.Conn {
	t.Helper()
	options := []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.DontRandomize(),
	}
	var conn *nats.Conn
	imtest.Eventually(t, "NATS answers", func() (ok bool) {
		var err error
		conn, err = nats.Connect(urls[0], append(options, func(o *nats.Options) error { o.Servers = urls; return nil })...)
		return err == nil
	})
	t.Cleanup(conn.Close)
	return conn
}

// leaderOf asks for the name of the stream's leader.
func leaderOf(t testing.TB, urls []string) string {
	t.Helper()
	js, err := jetstream.New(connectLate(t, urls))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(imtest.Bounded(t), "im")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Cluster.Leader
}
