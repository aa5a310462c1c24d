package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// resumable starts a session of h for a client, which comes back while down is false, and has the server send so many
// messages.
func resumable(t *testing.T, h *resume.Server, pipes *libnettest.Listener, down *atomic.Bool, sent int) *resume.Session {
	t.Helper()
	sessions := make(chan *resume.Session, 1)
	h.Handler = func(s *resume.Session) {
		for range sent {
			testkit.CheckErr(t, "Send", s.Send("not taken"), nil)
		}
		sessions <- s
		<-s.Done()
	}
	dialer := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, resume.Frames)}
	near := new(resume.Client).Start(&reconnect.Client{Logger: testkit.Quiet, Dial: func(context.Context) (*libnet.Session, error) {
		if down.Load() {
			return nil, errors.New("down")
		}
		conn, err := pipes.Dial()
		if err != nil {
			return nil, err
		}
		return dialer.NewSession(conn)
	}})
	t.Cleanup(func() { _ = near.Close() })
	<-sessions
	synctest.Wait()
	return near
}

func TestResumableSessionsAreShownWithAConnectionAndWithout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &resume.Server{}
		defer h.Close()
		pipes := libnettest.NewListener()
		srv := libnet.NewServer(pipes, codec.New(codec.Uint32BE, resume.Frames), 64)
		srv.Logger = testkit.Quiet
		defer srv.Stop()
		go func() { _ = srv.ServeMessages(h) }()
		var up, down atomic.Bool
		resumable(t, h, pipes, &up, 2)
		away := resumable(t, h, pipes, &down, 5)
		m := monitor.Handler(srv, monitor.Options{Resume: h})

		down.Store(true)
		_ = away.Conn().Close()
		synctest.Wait()
		z := getJSON[monitor.Resumez](t, m, "/resumez")
		if z.Open != 2 || z.Kept != 1 || z.KeptBytes < 5*len("not taken") || z.Total != 2 || len(z.Sessions) != 2 {
			t.Fatalf("%+v", z)
		}
		first, second := z.Sessions[0], z.Sessions[1]
		if first.State != "detached" || first.Conn != 0 || first.Unacknowledged != 5 || first.Accepted != 5 {
			t.Errorf("%+v", first)
		}
		if second.State != "connected" || second.Conn != getJSON[monitor.Connz](t, m, "/connz").Sessions[0].ID || second.Unacknowledged != 2 {
			t.Errorf("%+v", second)
		}
		for query, want := range map[string][]uint64{
			"state=detached": {first.ID}, "state=connected": {second.ID}, "limit=1": {first.ID}, "state=connected&limit=1000": {second.ID},
		} {
			var got []uint64
			for _, s := range getJSON[monitor.Resumez](t, m, "/resumez?"+query).Sessions {
				got = append(got, s.ID)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
		page := get(t, m, "/")
		want := fmt.Sprint([]string{fmt.Sprint(first.ID), "detached", "–", "5", "0", "0", "5", "0"})
		if got := rows(page, "resumable"); len(got) != 2 || fmt.Sprint(got[0]) != want {
			t.Errorf("%v; want %v", got, want)
		}
		for _, line := range []string{"libnet_resume_sessions 2", "libnet_resume_kept_sessions 1", "libnet_resume_resumed_total 0"} {
			if !strings.Contains(get(t, m, "/metrics"), "\n"+line+"\n") {
				t.Errorf("/metrics has no line %s", line)
			}
		}

		down.Store(false)
		testkit.Eventually(t, "it is back", func() bool { return h.Stats().Resumed == 1 })
		synctest.Wait()
		if s := getJSON[monitor.Resumez](t, m, "/resumez?limit=1").Sessions[0]; s.State != "connected" || s.Resumes != 1 || s.Unacknowledged != 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWhatResumezIsAskedWronglyIsSaid(t *testing.T) {
	srv := newServer(t)
	with, without := monitor.Handler(srv, monitor.Options{Resume: &resume.Server{}}), monitor.Handler(srv, monitor.Options{})
	for target, want := range map[string]string{
		"/resumez?limit=0": "limit", "/resumez?limit=1001": "limit", "/resumez?limit=1&limit=2": "2 times",
		"/resumez?state=closed": "connected or detached", "/resumez?find=x": "not a parameter", "/resumez?%zz": "invalid",
	} {
		w := serve(with, request("GET", target))
		var said struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &said); w.Code != http.StatusBadRequest || err != nil || !strings.Contains(said.Error, want) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := serve(without, request("GET", "/resumez")); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "Options.Resume") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if z := getJSON[monitor.Resumez](t, with, "/resumez"); z.Sessions == nil || !strings.Contains(get(t, with, "/"), `id="resumable-open" value="0"`) {
		t.Errorf("%+v", z)
	}
	if strings.Contains(get(t, without, "/"), "resumable-open") {
		t.Error("the page of a server without resumable sessions has them")
	}
}
