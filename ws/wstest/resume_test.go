package wstest

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/resume"
	"github.com/libnet-go/libnet/resume/web"
	"github.com/libnet-go/libnet/ws"
)

//go:embed testdata/resume.js
var exchangeScript string

// A resumeSite has sessions of package resume behind a page.
type resumeSite struct {
	server *resume.Server
	page   *httptest.Server
	ended  chan error // what each session's exchange came to
}

// serveResume has each session send numbers, and want as many.
func serveResume(t *testing.T, messages int, event bool) *resumeSite {
	t.Helper()
	s := &resumeSite{server: &resume.Server{}, ended: make(chan error, 100)}
	s.server.AckDelay = 5 * time.Millisecond
	s.server.Handler = func(session *resume.Session) {
		if err := exchangeNumbers(session, messages); err != nil {
			s.ended <- err
			return
		}
		<-session.Done() // the page shuts it down
		s.ended <- nil
	}
	srv := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint32BE, resume.Frames), 256)
	srv.Logger = slog.New(slog.DiscardHandler)
	pages := http.NewServeMux()
	pages.Handle("GET /resume.js", web.Handler())
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><script type="module">%s
			import { connect } from "/resume.js";
			Object.assign(globalThis, { connect, exchange });</script>`, exchangeScript)
	})
	options := &ws.HandlerOptions{OriginPatterns: []string{"*"}} // a proxy's port is not the page's
	if event {
		pages.Handle("/ws", ws.MessageHandler(srv, s.server, options))
	} else {
		pages.Handle("/ws", ws.Handler(srv, s.server, options))
	}
	s.page = httptest.NewServer(pages)
	t.Cleanup(func() {
		s.server.Close()
		srv.Stop()
		s.page.Close()
	})
	return s
}

func exchangeNumbers(s *resume.Session, messages int) error {
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := s.SendContext(context.Background(), fmt.Appendf(nil, "%d %s", i, strings.Repeat("y", i%89*7))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range messages {
		msg, err := s.Receive()
		if err != nil {
			return fmt.Errorf("receiving %d: %w", i, err)
		}
		if want := fmt.Sprintf("%d %s", i, strings.Repeat("x", i%97*6)); string(msg) != want {
			return fmt.Errorf("received %.20q in the place of %.20q", msg, want)
		}
	}
	return <-sent
}

// An outcome is what testdata/resume.js returns.
type outcome struct {
	Problems []string
	Resumes  int
}

// check wants no problem on either end, and connections to have ended meanwhile.
func (s *resumeSite) check(t *testing.T, o outcome) {
	t.Helper()
	for _, problem := range o.Problems {
		t.Errorf("the page: %s", problem)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("the server: %v", err)
		}
	case <-time.After(patience):
		t.Error("the server's session has not ended")
	}
	if o.Resumes == 0 {
		t.Error("no connection was lost")
	}
	t.Logf("%d resumes", o.Resumes)
}

var chaos = libnettest.Chaos{Seed: 1, Every: 20 << 10, Stall: 5 * time.Millisecond}

func TestNodeLosesNoMessageThoughItsConnectionsAreCut(t *testing.T) {
	node := program(t, "node", "nodejs")
	if _, err := os.Stat("node_modules/ws"); err != nil {
		missing(t, "node_modules: run npm ci")
	}
	script := filepath.Join(t.TempDir(), "resume.mjs")
	if err := os.WriteFile(script, []byte(web.JS), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, event := range map[string]bool{"Serve": false, "ServeMessages": true} {
		t.Run(name, func(t *testing.T) {
			const messages = 3000
			s := serveResume(t, messages, event)
			proxy := libnettest.NewProxy(t, "tcp", s.page.Listener.Addr().String(), chaos)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			run := exec.CommandContext(ctx, node, "testdata/resume_node.mjs", script, "ws://"+proxy.Addr().String()+"/ws", fmt.Sprint(messages))
			run.Stderr = os.Stderr
			output, err := run.Output()
			var o outcome
			if err == nil {
				err = json.Unmarshal(output, &o)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			s.check(t, o)
			proxy.Close()
		})
	}
}

func TestNodesSessionBearsServersAndCallersThatDoAsTheyPlease(t *testing.T) {
	node := program(t, "node", "nodejs")
	script := filepath.Join(t.TempDir(), "resume.mjs")
	if err := os.WriteFile(script, []byte(web.JS), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run := exec.CommandContext(ctx, node, "testdata/resume_faults.mjs", script)
	run.Stderr = os.Stderr
	output, err := run.Output()
	var problems []string
	if err == nil {
		err = json.Unmarshal(output, &problems)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// The page's own requests do not go through the proxy, which would cut them.
func TestAPageLosesNoMessageThoughTheNetworkGoesAwayUnderIt(t *testing.T) {
	browser := startBrowser(t)
	for name, cut := range map[string]func(t *testing.T, s *resumeSite) (url string, meanwhile func(context.Context)){
		"connections are cut": func(t *testing.T, s *resumeSite) (string, func(context.Context)) {
			seldom := chaos // Chromium makes a page wait that connects too often
			seldom.Every = 80 << 10
			proxy := libnettest.NewProxy(t, "tcp", s.page.Listener.Addr().String(), seldom)
			return "ws://" + proxy.Addr().String() + "/ws", nil
		},
		"the page is offline": func(t *testing.T, s *resumeSite) (string, func(context.Context)) {
			proxy := libnettest.NewProxy(t, "tcp", s.page.Listener.Addr().String(), libnettest.Chaos{Every: -1})
			return "ws://" + proxy.Addr().String() + "/ws", func(tab context.Context) { goOfflineAndBack(t, tab, proxy) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			const messages = 3000
			s := serveResume(t, messages, true)
			url, meanwhile := cut(t, s)
			tab, cancel := chromedp.NewContext(browser)
			defer cancel()
			ctx, cancel := context.WithTimeout(tab, patience)
			defer cancel()
			if err := chromedp.Do(tab, chromedp.Navigate(s.page.URL)); err != nil {
				t.Fatal(err)
			}
			if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
				`void exchange(connect, %q, %d).then((o) => { globalThis.outcome = o; }, (e) => { globalThis.outcome = { problems: [String(e)] }; })`,
				url, messages))); err != nil {
				t.Fatal(err)
			}
			if meanwhile != nil {
				meanwhile(ctx)
			}
			o, err := chromedp.Run(ctx, chromedp.Poll[outcome](`globalThis.outcome`, chromedp.WithPollingTimeout(patience)))
			if err != nil {
				t.Fatal(err)
			}
			s.check(t, o)
		})
	}
}

// goOfflineAndBack has the page's network away three times: what is under way is lost, and nothing new connects.
func goOfflineAndBack(t *testing.T, tab context.Context, proxy *libnettest.Proxy) {
	t.Helper()
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		offline(t, tab, true)
		before := proxy.Connections() // what the page is about to connect on a busy machine is among them
		proxy.CutAll()                // Chromium leaves WebSockets alone that are open
		time.Sleep(200 * time.Millisecond)
		if n := proxy.Connections(); n != before {
			t.Errorf("%d connections were made offline", n-before)
		}
		offline(t, tab, false)
	}
}

// emulateNetworkConditions is what Chromium still understands where it takes no rules.
var emulateNetworkConditions = cdp.Command[network.OverrideNetworkStateParams, cdp.Empty]{Method: "Network.emulateNetworkConditions"}

func offline(t *testing.T, tab context.Context, is bool) {
	t.Helper()
	if _, err := chromedp.Call(tab, emulateNetworkConditions, network.OverrideNetworkStateParams{
		DownloadThroughput: -1, UploadThroughput: -1, Offline: is,
	}); err != nil {
		t.Fatal(err)
	}
}
