package handover_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/handover"
)

func TestAStopMeanwhileEndsTheGive(t *testing.T) {
	ends := map[string]func(*libnet.Server){
		"Stop":     (*libnet.Server).Stop,
		"Shutdown": func(srv *libnet.Server) { _ = srv.Shutdown(context.Background()) },
		"Drain":    func(srv *libnet.Server) { _ = srv.Drain(context.Background(), time.Millisecond) },
	}
	for name, end := range ends {
		for _, mode := range []string{"event", "goroutine"} {
			for _, at := range []byte("HEG") {
				t.Run(name+"/"+mode+"/"+string(at), func(t *testing.T) {
					r := newRig(t, mode, nil)
					conn := r.dial(t)
					askFacts(t, conn)
					near, far := pair(t)
					gave := make(chan error, 1)
					go func() {
						_, err := handover.Give(context.Background(), near, r.srv, handover.GiveOptions{Pause: -1})
						gave <- err
					}()
					k := newTaker(t, far)
					takeUntil(k, at)
					go end(r.srv)
					select {
					case err := <-gave:
						if !errors.Is(err, handover.ErrKept) || !errors.Is(err, libnet.ErrServerClosed) {
							t.Errorf("Give: %v", err)
						}
					case <-time.After(5 * time.Second):
						t.Fatal("Give goes on")
					}
					k.close() // as a process that was told so
					if rest, _ := io.ReadAll(conn); len(rest) > 0 {
						t.Errorf("the peer got %q", rest)
					}
					_ = conn.Close()
					<-r.served
				})
			}
		}
	}
}

// takeUntil speaks the other process's part until that message has come, and then says nothing more.
func takeUntil(k *taker, last byte) {
	k.hear('H')
	if last == 'H' {
		return
	}
	k.say('R')
	k.hear('E')
	if last == 'E' {
		return
	}
	k.say('A', 0)
	k.hear(last)
}

func TestATakeThatHasFailedMayBeTriedAgain(t *testing.T) {
	r := newRig(t, "event", nil)
	conn := r.dial(t)
	before := askFacts(t, conn)
	path := filepath.Join(t.TempDir(), "give")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := serverCommand(settings{Mode: "event", Asks: path})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	for _, works := range []bool{false, true} {
		near, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		result, err := handover.Give(t.Context(), near, r.srv, handover.GiveOptions{Freeze: freezeCounter})
		if works && (err != nil || result.Moved != 1) || !works && !errors.Is(err, handover.ErrKept) {
			t.Fatalf("it is to work: %v; Give: %+v, %v", works, result, err)
		}
	}
	if after := askFacts(t, conn); after.PID != cmd.Process.Pid || after.ID != before.ID {
		t.Errorf("%+v", after)
	}
}

// As a program does that is told to end while it starts.
func TestAShutdownOfWhoHasTakenOverAndServesNobodyDelivers(t *testing.T) {
	r := newRig(t, "event", func(srv *libnet.Server) { srv.SendBuffer = 16 << 10 })
	conn := r.dial(t)
	s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
	big := strings.Repeat("abcdefgh", 8000)
	sent := fill(t, s, big)
	if result, err := r.give(t, settings{Mode: "event", Leaves: true}, handover.GiveOptions{}); err != nil || result.Moved != 1 {
		t.Fatal(result, err)
	}
	for i := range sent {
		if msg := hear(t, conn); msg != numbered(uint64(i))+big {
			t.Fatalf("message %d is %d bytes: %.30q", i, len(msg), msg)
		}
	}
	if msg, err := readMessage(conn); err != io.EOF {
		t.Errorf("behind the last message came %.30q, %v", msg, err)
	}
}

func TestWhatASessionHadToWriteIsCountedWhenThawEndsIt(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, func(srv *libnet.Server) { srv.SendBuffer = 16 << 10 })
		asks := r.dial(t)
		askFacts(t, asks)
		conns := map[string]net.Conn{"closes": r.dial(t), "shuts down": r.dial(t)}
		sent, queued := map[string]int{}, map[string]int{}
		big := strings.Repeat("abcdefgh", 8000)
		for name, conn := range conns {
			s := r.srv.Manager().GetSession(askFacts(t, conn).ID)
			s.SetName(name)
			sent[name] = fill(t, s, big)
			queued[name] = s.Stats().Queued
		}
		result, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{})
		if err != nil || result.Moved != 3 {
			t.Fatal(result, err)
		}
		for i := range sent["shuts down"] {
			if msg := hear(t, conns["shuts down"]); msg != numbered(uint64(i))+big {
				t.Fatalf("message %d is %d bytes: %.30q", i, len(msg), msg)
			}
		}
		if rest, err := io.ReadAll(conns["shuts down"]); len(rest) > 0 || err != nil {
			t.Errorf("behind the last message came %q, %v", rest, err)
		}
		// The server's sums have what was written here, too: the messages sent, and the three that askFacts asked for.
		f := askFacts(t, asks)
		if f.Server.Discarded != uint64(queued["closes"]) {
			t.Errorf("%d messages are counted as discarded; %d were to be written", f.Server.Discarded, queued["closes"])
		}
		if out := uint64(sent["closes"] - queued["closes"] + sent["shuts down"] + 3); f.Server.MessagesOut != out {
			t.Errorf("%d messages are counted as written; want %d", f.Server.MessagesOut, out)
		}
	})
}

func TestUpgradeDoesNotWaitForWhatElseKeepsThePipesOpen(t *testing.T) {
	r := newRig(t, "event", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	cmd := exec.Command("sh", "-c", "sleep 4 & wait")
	cmd.Stdout = new(bytes.Buffer)
	began := time.Now()
	_, err := handover.Upgrade(ctx, cmd, r.srv, handover.GiveOptions{})
	if took := time.Since(began); !errors.Is(err, handover.ErrKept) || took > 3*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

func TestASessionThatEndsOnceItIsIntroducedEndsForItsPeer(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		r := newRig(t, mode, nil)
		ends, moves := r.dial(t), r.dial(t)
		s := r.srv.Manager().GetSession(askFacts(t, ends).ID)
		askFacts(t, moves)
		result, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{Freeze: func(other *libnet.Session) ([]byte, error) {
			if other == s {
				return nil, s.Close()
			}
			return freezeCounter(other)
		}})
		if err != nil || result.Moved != 1 || result.Ended != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		if rest, _ := io.ReadAll(ends); len(rest) > 0 {
			t.Errorf("the peer got %q", rest)
		}
		if f := askFacts(t, moves); f.Open != 1 || f.Group != 1 {
			t.Errorf("%+v", f)
		}
	})
}

func TestASessionThatCannotBeIntroducedBeforeMovesWithTheOthers(t *testing.T) {
	overModes(t, func(t *testing.T, mode string) {
		entered := make(chan struct{}, 1)
		r := newRig(t, mode, func(srv *libnet.Server) {
			welcome := srv.OnSession
			srv.OnSession = func(s *libnet.Session) error {
				entered <- struct{}{}
				time.Sleep(100 * time.Millisecond)
				return welcome(s)
			}
		})
		conn := r.dial(t)
		<-entered
		result, err := r.give(t, settings{Mode: mode}, handover.GiveOptions{HandlerTime: patience / 2})
		if err != nil || result.Moved != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		if f := askFacts(t, conn); f.PID == os.Getpid() {
			t.Errorf("%+v", f)
		}
	})
}
