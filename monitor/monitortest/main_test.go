package monitortest

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

var protocol = codec.New(codec.Uint16BE, codec.Bytes)

// newServer starts a server that echoes, until the test ends.
func newServer(t testing.TB, set ...func(*libnet.Server)) *libnet.Server {
	t.Helper()
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 32)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = slog.New(slog.DiscardHandler)
	for _, f := range set {
		f(srv)
	}
	t.Cleanup(srv.Stop)
	go srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) }))
	return srv
}

func dial(t testing.TB, srv *libnet.Server) *libnet.Session {
	t.Helper()
	s, err := libnet.Connect("tcp", srv.Listener().Addr().String(), protocol, 32)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// settle waits until srv has counted as many messages in each direction. It counts them after its clients have them.
func settle(t testing.TB, srv *libnet.Server, messages uint64) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		stats := srv.Stats()
		if stats.MessagesIn == messages && stats.MessagesOut == messages {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages in, %d out; want %d", stats.MessagesIn, stats.MessagesOut, messages)
		}
	}
}

// show starts a monitor of srv until the test ends and returns its address, with a / at the end.
func show(t testing.TB, o monitor.Options, srv *libnet.Server) string {
	t.Helper()
	l, err := o.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Serve(ctx, l, srv) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String() + "/"
}

// browser is the program that the tests start, by the names that it goes by.
func browser(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chrome-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Chromium is installed")
	}
	t.Skip("no Chromium is installed")
	return ""
}

// A tab is one of a browser's, which must not complain nor ask anybody but the origins that the test names.
type tab struct {
	testing.TB
	ctx     context.Context
	origins []string

	mu sync.Mutex
	// mu guards the following.
	complaints []string
	requests   int
}

// patience is for what a browser needs to do anything at all, on a busy machine.
const patience = 20 * time.Second

// otherName is this machine to the browser, which trusts it less than a loopback address: over plain HTTP it sends no
// Sec-Fetch-Site there.
const otherName = "monitor.test"

// opener opens tabs of one browser.
type opener func(t testing.TB, origins ...string) *tab

// TestInABrowser has its tests share a browser, which takes longer to start than most of them.
func TestInABrowser(t *testing.T) {
	open := startBrowser(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, opener)
	}{
		{"the page's numbers are what the clients counted", numbersAreWhatClientsCounted},
		{"a killed session is among the last closes within two seconds", killedSessionIsSeen},
		{"the page works without a script", worksWithoutAScript},
		{"a server that drains is seen to drain", drainIsSeen},
		{"the page pauses and goes on", pausesAndGoesOn},
		{"a chart says its value at the pointer", chartSaysItsValue},
		{"the button closes the session that it names", buttonClosesItsSession},
		{"the button needs no script and no trusted name", buttonNeedsNoScript},
		{"what peers choose is never markup", peersChooseNoMarkup},
		{"another origin can neither read nor close nor frame", anotherOriginCanDoNothing},
		{"the page fits phones and desktops, in light and dark", fitsPhonesAndDesktops},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

func startBrowser(t *testing.T) opener {
	t.Helper()
	parent, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browser(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP "+otherName+" 127.0.0.1"),
		chromedp.WSURLReadTimeout(patience),
	)...)
	t.Cleanup(cancel)
	parent, cancel = chromedp.NewContext(parent)
	t.Cleanup(func() {
		if err := chromedp.Cancel(parent); err != nil {
			t.Errorf("the browser's end: %v", err)
		}
		cancel()
	})
	if err := chromedp.Do(parent); err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB, origins ...string) *tab {
		t.Helper()
		ctx, cancel := chromedp.NewContext(parent)
		t.Cleanup(cancel)
		b := &tab{TB: t, ctx: ctx, origins: origins}
		if err := chromedp.Listen(ctx, b.hear); err != nil {
			t.Fatal(err)
		}
		if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests++
		for _, origin := range b.origins {
			if strings.HasPrefix(e.Request.URL, origin) {
				return
			}
		}
		b.complaints = append(b.complaints, "a request for "+e.Request.URL)
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, "the log: "+e.Entry.Text+" "+e.Entry.URL)
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, "an exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, "the console: "+string(e.Type))
	}
}

// heard returns what the browser has complained about, and forgets it.
func (b *tab) heard() (complaints []string, requests int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	complaints, requests = b.complaints, b.requests
	b.complaints, b.requests = nil, 0
	return complaints, requests
}

func (b *tab) mustBeQuiet() {
	b.Helper()
	complaints, requests := b.heard()
	if requests == 0 {
		b.Error("the browser asked for nothing")
	}
	for _, c := range complaints {
		b.Error(c)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	run(b, chromedp.Steps(steps...))
}

func run[T any](b *tab, a chromedp.Action[T]) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// eval returns the value of an expression in the page, or of what it promises.
func eval[T any](b *tab, expression string) T {
	b.Helper()
	return run(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// await waits until the page finds that an expression is true, and returns how long that took.
func (b *tab) await(expression string) time.Duration {
	b.Helper()
	began := time.Now()
	b.do(chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	return time.Since(began)
}

// follow clicks on a link and waits for the page that it leads to.
func (b *tab) follow(selector string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.Fatal(err)
	}
}

// live waits until the page's script has brought it up to date.
func (b *tab) live() {
	b.Helper()
	b.await(`document.getElementById("status")?.textContent === "live"`)
}
