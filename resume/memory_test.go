package resume_test

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/resume"
)

// What an idle session costs a server beyond its connection: measured, and held below a bound with some room.
func TestAnIdleSessionCostsItsServerLittle(t *testing.T) {
	if testkit.Race {
		t.Skip("the detector's memory counts")
	}
	h := &resume.Server{MessageHandler: func(*resume.Session, []byte) {}}
	defer h.Close()
	plain := idle(t, testkit.Frames, libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) }))
	resumable := idle(t, protocol, h)
	t.Logf("an idle session: %d bytes; resumable: %d", plain, resumable)
	if resumable-plain > 290 {
		t.Error("too much")
	}
}

// idle returns what a session, with its client, keeps that has got a hello and an acknowledgement.
func idle(t *testing.T, p libnet.Protocol, h libnet.MessageHandler) int {
	srv := libnet.NewServer(testkit.Listen(t, "tcp"), p, 16)
	srv.Logger = testkit.Quiet
	go func() { _ = srv.ServeMessages(h) }()
	defer srv.Stop()
	conns := make([]net.Conn, 1000)
	before, _ := testkit.InUse()
	for i := range conns {
		conn, err := net.Dial("tcp", srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
		if _, err := conn.Write(append([]byte{0, 0, 0, byte(len(newHello))}, newHello...)); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(conn, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(append([]byte{0, 0, 0, byte(len(oneAck))}, oneAck...)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond)
	after, _ := testkit.InUse()
	return (after - before) / len(conns)
}

// Ten thousand clients come back after their listener was restarted:
//
//	LIBNET_RESUME_CLIENTS=10000 go test ./resume -run TestAllClientsResume -v
func TestAllClientsResumeAfterTheirListenerWasRestarted(t *testing.T) {
	testkit.Slow(t)
	clients := 200
	if set := os.Getenv("LIBNET_RESUME_CLIENTS"); set != "" {
		clients, _ = strconv.Atoi(set)
	}
	enough := testkit.Patience + time.Duration(clients)*20*time.Millisecond // others may use the machine as well
	before := runtime.NumGoroutine()
	var taken atomic.Int64
	h := &resume.Server{MessageHandler: func(s *resume.Session, msg []byte) { taken.Add(1) }}
	h.MaxKeptPerIP = -1
	defer h.Close()
	listen := func(addr string) *libnet.Server {
		srv, err := libnet.Serve("tcp", addr, protocol, 16)
		if err != nil {
			t.Fatal(err)
		}
		srv.Logger = testkit.Quiet
		go func() { _ = srv.ServeMessages(h) }()
		return srv
	}
	srv := listen("127.0.0.1:0")
	addr := srv.Listener().Addr().String()
	all := make([]*resume.Session, clients)
	for i := range all {
		over := site{dial: dialTCP}.over(addr)
		over.MinBackoff, over.MaxBackoff, over.AttemptTimeout = 500*time.Millisecond, time.Second, enough
		all[i] = new(resume.Client).Start(over)
	}
	each := func(what string, f func(*resume.Session) error) {
		var running sync.WaitGroup
		for _, s := range all {
			running.Go(func() { testkit.CheckErr(t, what, f(s), nil) })
		}
		running.Wait()
	}
	eachAcked := func() {
		each("SendAcked", func(s *resume.Session) error { return s.SendAcked(patient, "x") })
	}
	eachAcked()
	srv.Stop()
	srv = listen(addr)
	defer srv.Stop()
	begin := time.Now()
	testkit.EventuallyWithin(t, enough, "all are back", func() bool { return h.Stats().Resumed >= uint64(clients) })
	took := time.Since(begin)
	eachAcked()
	t.Logf("%d clients resumed in %v, and had another message acknowledged by %v", clients, took, time.Since(begin))
	if n := taken.Load(); n != int64(2*clients) || h.Stats().Kept != 0 {
		t.Errorf("%d messages taken; %+v", n, h.Stats())
	}
	each("Shutdown", func(s *resume.Session) error { return s.Shutdown(patient) })
	testkit.EventuallyWithin(t, enough, "all have ended", func() bool { return h.Stats().Open == 0 })
	srv.Stop()
	testkit.EventuallyWithin(t, enough, "nobody is at work", func() bool { return runtime.NumGoroutine() <= before })
}
