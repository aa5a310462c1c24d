package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of what meters do wrong here, the log tells
	libnettest.VerifyMain(m)
}

// patience is for anything at all to happen, on a busy machine.
const patience = 20 * time.Second

// A rig is gateway -listen.
type rig struct {
	*testing.T
	address string
	names   io.Writer
	lines   *bufio.Scanner
	cancel  func()
	ended   chan error
}

func start(t *testing.T) *rig {
	t.Helper()
	return startBehind(t, netip.Prefix{})
}

func startBehind(t *testing.T, proxies netip.Prefix) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdin, names := io.Pipe()
	out, stdout := io.Pipe()
	r := &rig{T: t, names: names, lines: bufio.NewScanner(out), cancel: cancel, ended: make(chan error, 1)}
	go func() {
		r.ended <- serve(ctx, "127.0.0.1:0", proxies, stdin, stdout)
		stdout.Close()
	}()
	t.Cleanup(func() { cancel(); names.Close(); out.Close() })
	if line := r.line(); line == "" {
		t.Fatalf("the gateway has not started: %v", <-r.ended)
	} else if _, err := fmt.Sscanf(line, "meters at %s", &r.address); err != nil {
		t.Fatal(err)
	}
	r.address = strings.TrimSuffix(r.address, ";")
	return r
}

func (r *rig) line() string { r.lines.Scan(); return r.lines.Text() }

// ask types a meter's name.
func (r *rig) ask(name string) string { fmt.Fprintln(r.names, name); return r.line() }

// eventually asks until the answer is what it is to be.
func (r *rig) eventually(name, want string) {
	r.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if got := r.ask(name); got == want {
			return
		} else if time.Since(began) > patience {
			r.Fatalf("%s: the gateway says %q; want %q", name, got, want)
		}
	}
}

// end is Ctrl-C. It returns how many readings there were, in how many sessions.
func (r *rig) end() (readings, sessions int) {
	r.Helper()
	r.cancel()
	last := r.line()
	if _, err := fmt.Sscanf(last, "%d readings in %d sessions", &readings, &sessions); err != nil {
		r.Errorf("the gateway said %q", last)
	}
	if err := <-r.ended; err != nil {
		r.Errorf("the gateway ended with %v", err)
	}
	return readings, sessions
}

// connect is a meter that a test plays, and that has logged in.
func (r *rig) connect(name string) *libnet.Session {
	r.Helper()
	s, err := libnet.Connect("tcp", r.address, protocol, 1000)
	if err == nil {
		r.Cleanup(func() { s.Close() })
		err = s.Send(push(name, 1))
	}
	if err != nil {
		r.Fatal(err)
	}
	return s
}

func TestNoReadingOfSimulatedMetersIsLost(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	var simulation sync.WaitGroup
	simulation.Go(func() { simulate(ctx, r.address, 100, 200*time.Millisecond, &out) })
	for began, meters, readings := time.Now(), 0, 0; meters < 100 || readings < 300; time.Sleep(5 * time.Millisecond) {
		said := r.ask("nobody")
		_, err := fmt.Sscanf(said, "0 Wh, error: is not connected; %d meters, %d readings", &meters, &readings)
		if err != nil || time.Since(began) > patience {
			t.Fatalf("the gateway says %q", said)
		}
	}
	cancel()
	simulation.Wait()
	var sent int
	if _, err := fmt.Sscanf(out.String(), "100 meters push each 200ms; Ctrl-C ends them\n%d messages were sent", &sent); err != nil {
		t.Fatalf("the meters said %q", &out)
	}
	if readings, sessions := r.end(); readings != sent || sessions < 100 {
		t.Errorf("the meters sent %d readings, and the gateway had %d in %d sessions", sent, readings, sessions)
	}
}

func TestASimulatedMeterAnswersACommand(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var simulation sync.WaitGroup
	simulation.Go(func() { simulate(ctx, r.address, 3, 100*time.Millisecond, io.Discard) })
	for began, shows := time.Now(), 0; shows < 2; time.Sleep(5 * time.Millisecond) {
		answer := r.ask("LNT0000000000002")
		if _, err := fmt.Sscanf(answer, "%d Wh, error: <nil>; 3 meters, ", &shows); err != nil && time.Since(began) > patience {
			t.Fatalf("the gateway says %q", answer)
		}
	}
	cancel()
	simulation.Wait()
}

const name = "LNT0000000000001"

// The bytes are those of the standard: a gateway that agrees with its own meters alone would be of no use.
func TestTheWireIsDLMS(t *testing.T) {
	wire := func(msg []byte) string {
		var b bytes.Buffer
		if err := protocol.NewCodec(&b).Send(msg); err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(b.Bytes())
	}
	for got, want := range map[string]string{
		wire(push(name, 258)):     "000100010066001f" + "0f00000001" + "00" + "0202" + "0910" + hex.EncodeToString([]byte(name)) + "0600000102",
		wire(request(0xC1)):       "000100660001000d" + "c001c1" + "0003" + "0100010800ff" + "02" + "00",
		wire(answer(0xC1, 65536)): "0001000100660009" + "c401c1" + "00" + "0600010000",
	} {
		if got != want {
			t.Errorf("%s is sent; want %s", got, want)
		}
	}
}

func TestAMeterThatConnectsAgainReplacesItsOldSession(t *testing.T) {
	r := start(t)
	old := r.connect(name)
	for i := range 100 {
		if err := old.Send(push(name, uint32(i))); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("nobody", "0 Wh, error: is not connected; 1 meters, 101 readings")
	now := r.connect(name)
	if _, err := old.Receive(); err != io.EOF { // an orderly end
		t.Errorf("the old session ended with %v", err)
	}
	go func() {
		for err := error(nil); err == nil; {
			var msg []byte
			if msg, err = now.Receive(); err == nil && isRequest(msg) {
				now.Send(answer(msg[10]^1, 1)) // to another command
				now.Send(answer(msg[10], 4711))
			}
		}
	}()
	if got, want := r.ask(name), "4711 Wh, error: <nil>; 1 meters, 102 readings"; got != want {
		t.Errorf("the gateway says %q; want %q", got, want)
	}
	if readings, sessions := r.end(); readings != 102 || sessions != 2 {
		t.Errorf("%d readings in %d sessions", readings, sessions)
	}
	<-now.Done()
}

func TestAMeterThatGoesIsNotWaitedFor(t *testing.T) {
	r := start(t)
	s := r.connect(name)
	r.eventually("nobody", "0 Wh, error: is not connected; 1 meters, 1 readings")
	go func() {
		s.Receive() // the command
		s.Close()
	}()
	if got := r.ask(name); !strings.HasPrefix(got, "0 Wh, error: ") || strings.Contains(got, "nil") {
		t.Errorf("the gateway says %q", got)
	}
	r.eventually(name, "0 Wh, error: is not connected; 0 meters, 1 readings")
}

func TestWhatIsNoMeterIsThrownOut(t *testing.T) {
	r := start(t)
	other := "LNT0000000000002"
	for what, messages := range map[string][][]byte{
		"no login":          {answer(0xC1, 1)},
		"another version":   {append([]byte{0, 2}, push(name, 1)[2:]...)},
		"another's reading": {push(name, 1), push(other, 1)},
		"no answer":         {push(name, 1), request(0xC1)},
		"too long":          {append(push(name, 1), make([]byte, 2000)...)},
	} {
		s, err := libnet.Connect("tcp", r.address, protocol, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range messages {
			if err := s.Send(msg); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Receive(); err == nil {
			t.Errorf("%s: the gateway answers", what)
		}
		s.Close()
	}
	if readings, _ := r.end(); readings != 2 {
		t.Errorf("%d readings were counted", readings)
	}
}

// One address may have 100 meters. Behind a load balancer it is the meters' own that counts.
func TestTheBoundOfAnAddressHoldsBehindALoadBalancer(t *testing.T) {
	r := startBehind(t, netip.MustParsePrefix("127.0.0.0/8"))
	connect := func(i int, from string) net.Conn {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "PROXY TCP4 %s 192.0.2.1 5 4059\r\n", from)
		if err := protocol.NewCodec(conn).Send(push(fmt.Sprintf("LNT%013d", i), 1)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	for i := range 100 {
		connect(i, "192.0.2.7")
	}
	r.eventually("nobody", "0 Wh, error: is not connected; 100 meters, 100 readings")
	if n, err := connect(100, "192.0.2.7").Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("meter 101 of an address is welcome")
	}
	connect(101, "192.0.2.8")
	r.eventually("nobody", "0 Wh, error: is not connected; 101 meters, 101 readings")
}
