package model

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// modelOps are the operations; a byte of fuzz input stands for the one at its number modulo theirs.
const modelOps = "sSopqbrRhxzcdt"

// FuzzSession has a session and a model of it do the same operations, the bytes of ops, and compares all
// that can be seen of them after each.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"\x00" + "ssssss" + "rrr" + "x", // a full queue, read, closed
		"\x01" + "pqpq" + "t",           // frames in pieces, and a minute
		"\x02" + "ssssSSs" + "h" + "rrrr",
		"\x03" + "SSSS" + "d" + "p" + "rRrR" + "h",
		"\x04" + "sSsS" + "c",
		"\x05" + "q" + "h",
		"\x06" + "ssss" + "z",
		"\x07" + "pb",
		"\x08" + "ooSSo" + "t",
		"\x0b" + "sSsSsSsSrsrsrsrsRx",
		"\x11" + "SSSd" + "t",
		"\x17" + "ssd" + "c",
	} {
		ops := []byte(seed)
		for i := 1; i < len(ops); i++ {
			ops[i] = byte(strings.IndexByte(modelOps, ops[i]))
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) < 2 || len(ops) > 200 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) { newModelRun(t, ops[0]).run(ops[1:]) })
	})
}

// modelRun is a session beside its model.
type modelRun struct {
	*model
	t      *testing.T
	srv    *libnet.Server
	s      *libnet.Session
	peer   *libnettest.PipeConn
	closes int

	mu    sync.Mutex // guards the following
	heard []string
}

func newModelRun(t *testing.T, config byte) *modelRun {
	m := &model{modelConfig: modelConfig{
		queue:  []int{1, 3, 100}[config%3],
		bytes:  []int{-1, 50}[config/3%2],
		onFull: []libnet.FullPolicy{libnet.RejectNewest, libnet.DropOldest, libnet.CloseSession}[config/6%3],
		plain:  config/18%2 == 1,
	}}
	x := &modelRun{model: m, t: t}
	var protocol libnet.Protocol = testkit.Frames64K
	if m.plain {
		protocol = testkit.Plain64K
	}
	x.srv = libnet.NewServer(libnettest.NewListener(), protocol, m.queue)
	x.srv.Logger = slog.New(slog.DiscardHandler)
	x.srv.SendQueueBytes, x.srv.OnFull = m.bytes, m.onFull
	client, server := libnettest.PipeSize(modelPipe)
	x.peer = client.(*libnettest.PipeConn)
	var err error
	if x.s, err = x.srv.NewSession(server); err != nil {
		t.Fatal(err)
	}
	x.s.OnClose(func() { x.closes++ })
	go x.receive()
	return x
}

func (x *modelRun) receive() {
	for {
		msg, err := x.s.Receive()
		if err != nil {
			return
		}
		x.mu.Lock()
		x.heard = append(x.heard, string(msg))
		x.mu.Unlock()
	}
}

func (x *modelRun) run(ops []byte) {
	synctest.Wait()
	var done []byte
	for i, op := range ops {
		op = modelOps[int(op)%len(modelOps)]
		done = append(done, op)
		x.do(op, i)
		synctest.Wait()
		x.compare(done)
		if x.t.Failed() {
			break
		}
	}
	x.peer.Close()
	x.srv.Stop()
	synctest.Wait()
	if x.closes != 1 || x.srv.Manager().Len() != 0 || x.srv.Stats().Open != 0 {
		x.t.Errorf("%d callbacks, %d in the manager, %d open", x.closes, x.srv.Manager().Len(), x.srv.Stats().Open)
	}
	if n := uint64(x.sent); x.s.Stats().MessagesOut+x.s.Stats().Discarded != n {
		x.t.Errorf("%d accepted: %+v", n, x.s.Stats())
	}
}

// do does one operation to the session and to the model.
func (x *modelRun) do(op byte, i int) {
	label := string(rune('a' + i%26))
	switch op {
	case 's':
		x.sends(label)
	case 'S':
		x.sends(strings.Repeat(label, 21))
	case 'o':
		x.sends(strings.Repeat(label, testkit.Max64K+1))
	case 'p':
		x.writes(testkit.Frame(strings.Repeat(label, 13)))
	case 'q':
		x.writes(testkit.Frame("in pieces" + label)[:6])
		x.writes(testkit.Frame("in pieces" + label)[6:9])
	case 'b':
		x.writes([]byte("\xff\xff\xff\xff"))
	case 'r':
		x.reads(7)
	case 'R':
		x.reads(50)
	case 'h':
		if x.peer.CloseWrite() == nil && !x.ended {
			x.peerEnds()
		}
	case 'x':
		if x.peer.Close() == nil && !x.gone {
			x.peerGoes(false)
		}
	case 'z':
		if x.peer.Reset() == nil && !x.gone {
			x.peerGoes(true)
		}
	case 'c':
		err := x.s.Close()
		if (err == nil) != (x.state != modelClosed) {
			x.t.Errorf("Close = %v", err)
		}
		x.closeNow()
	case 'd':
		go func() { _ = x.s.Shutdown(x.t.Context()) }()
		x.begin(modelLeaving, libnet.ErrSessionClosed)
	case 't':
		time.Sleep(time.Minute)
		x.aMinutePasses()
	}
}

// closeNow is Close on a session in any state: one that is ending keeps its reason.
func (x *modelRun) closeNow() {
	reasons := []error{libnet.ErrSessionClosed}
	if x.state == modelEnding {
		reasons = x.reasons
	}
	x.close(reasons...)
}

func (x *modelRun) sends(payload string) {
	var err error
	if len(payload)%2 == 0 {
		err = x.s.SendBytes([]byte(payload))
	} else {
		err = x.s.Send(payload)
	}
	want := x.send(payload)
	if want == errModelClosed {
		if err == nil {
			x.t.Error("Send on a closed session returned nil")
		}
		return
	}
	if !errors.Is(err, want) {
		x.t.Errorf("Send of %d bytes = %v, want %v", len(payload), err, want)
	}
}

func (x *modelRun) writes(p []byte) {
	_ = x.peer.SetWriteDeadline(time.Now()) // nobody may be reading
	_ = x.peer.SetWriteDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = x.peer.Write(p)
	}()
	synctest.Wait()
	select {
	case <-done:
	default: // full, because the session has ended its reading
		_ = x.peer.SetWriteDeadline(time.Unix(1, 0))
		<-done
	}
	if !x.ended && !x.gone {
		x.peerWrites(p)
	}
}

func (x *modelRun) reads(n int) {
	if x.gone {
		return
	}
	buf := make([]byte, n)
	_ = x.peer.SetReadDeadline(time.Unix(1, 0))
	_ = x.peer.SetReadDeadline(time.Now().Add(time.Nanosecond))
	n, err := io.ReadFull(x.peer, buf)
	var timeout net.Error
	want := x.peerReads(len(buf))
	if string(buf[:n]) != string(want) {
		x.t.Errorf("the peer read %q, %v, want %q", buf[:n], err, want)
	}
	if n < len(buf) && x.state == modelOpen && !(errors.As(err, &timeout) && timeout.Timeout()) {
		x.t.Errorf("the peer of an open session read %v", err)
	}
}

// compare checks what can be seen of the session.
func (x *modelRun) compare(done []byte) {
	stats := x.s.Stats()
	x.mu.Lock()
	defer x.mu.Unlock()
	bad := func(what string, got any) { x.t.Errorf("after %s: %s is %v; the model: %v", done, what, got, x.model) }
	if x.s.IsClosed() != (x.state != modelOpen) {
		bad("IsClosed", x.s.IsClosed())
	}
	if stats.Queued != x.messages() || stats.QueuedBytes != x.bytesQueued || stats.MessagesOut != uint64(x.out) || stats.Discarded != uint64(x.discarded) {
		bad("Stats", stats)
	}
	if strings.Join(x.heard, "|") != strings.Join(x.received, "|") {
		bad("the received", x.heard)
	}
	if (x.closes == 1) != (x.state == modelClosed) {
		bad("the number of callbacks", x.closes)
	}
	err := x.s.Err()
	known := x.state == modelOpen && err == nil
	for _, reason := range x.reasons {
		known = known || x.state != modelOpen && errors.Is(err, reason)
	}
	if !known {
		bad("Err", err)
	}
}
