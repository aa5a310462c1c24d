package page_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds each single wait of a browser test: ten times what it takes on a busy machine.
const patience = 20 * time.Second

// browserPath finds a Chromium. Without one, the test is skipped, unless CI is set.
func browserPath(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Chromium in PATH, and CI is set")
	}
	t.Skip("no Chromium in PATH")
	return ""
}

// startBrowser starts a Chromium with a profile of its own and returns the context that tabs are made from.
func startBrowser(t testing.TB) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browserPath(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.DisableGPU,
		chromedp.NoSandbox, // Chromium has none to offer to root, as whom a build server's container runs
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("closing the browser: %v", err)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// A tab is one visitor's: its storage is its own. It fails its test for whatever a page must not do.
type tab struct {
	t       testing.TB
	ctx     context.Context
	name    string
	allowed func(host string) bool

	// mu guards the following.
	mu       sync.Mutex
	problems []string
	forgiven []string // parts of the problems that the test provokes
	sockets  []string // URLs of the WebSockets that were opened
}

// openTab opens a tab. The page may send requests to hosts for which allowed reports true, and to no others.
func openTab(t testing.TB, browser context.Context, name string, allowed func(host string) bool) *tab {
	t.Helper()
	b := &tab{t: t, name: name, allowed: allowed}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.observe))
	b.ctx = ctx
	t.Cleanup(cancel)
	t.Cleanup(b.verify)
	b.do(
		chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
			return err
		}),
		chromedp.EmulateViewport(1280, 800),
	)
	return b
}

// observe runs on the goroutine that reads the tab's messages.
func (b *tab) observe(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.problems = append(b.problems, "exception: "+text)
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprintf("console.%s was called", e.Type))
	case *cdplog.EventEntryAdded:
		b.problems = append(b.problems, fmt.Sprintf("log: %s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		b.judge(e.Request.URL)
	case *network.EventWebSocketCreated:
		b.sockets = append(b.sockets, e.URL)
		b.judge(e.URL)
	}
}

func (b *tab) judge(address string) {
	u, err := url.Parse(address)
	if err != nil || !b.allowed(u.Host) {
		b.problems = append(b.problems, "request to a foreign host: "+address)
	}
}

// verify fails the test for what the page did that it must not.
func (b *tab) verify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		provoked := slices.ContainsFunc(b.forgiven, func(text string) bool { return strings.Contains(problem, text) })
		if !provoked {
			b.t.Errorf("%s's page: %s", b.name, problem)
		}
	}
}

// opened are the URLs of the WebSockets that the page opened.
func (b *tab) opened() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sockets)
}

// forgive passes over the problems whose text contains this, which the test provokes.
func (b *tab) forgive(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgiven = append(b.forgiven, text)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.start()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s's page: %v", b.name, err)
	}
}

// start opens the target, whose life is that of the context of the first call.
func (b *tab) start() {
	b.t.Helper()
	if chromedp.FromContext(b.ctx).Target != nil {
		return
	}
	if err := chromedp.Do(b.ctx); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what an expression is in the page. Promises are awaited.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s's page: %s: %v", b.name, expression, err)
	}
	return v
}

// wait waits until a condition holds in the page.
func (b *tab) wait(condition string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](condition,
			chromedp.WithPollingInterval(10*time.Millisecond), chromedp.WithPollingTimeout(time.Until(deadline))))
		cancel()
		if err == nil {
			return
		}
		// A poll does not survive a navigation.
		if time.Now().After(deadline) {
			b.t.Fatalf("%s's page: never %s\nThe page shows:\n%s", b.name, condition, eval[string](b, `document.body.innerText`))
		}
	}
}

// visit opens an address and waits until the page is there.
func (b *tab) visit(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// enter lets the visitor in by name and waits for the connection.
func (b *tab) enter(address string) {
	b.t.Helper()
	b.visit(address)
	b.wait(`!document.querySelector("#login").hidden`)
	b.do(chromedp.SendKeys(chromedp.ID("login-name"), b.name))
	b.press("Enter", 13)
	b.online()
}

// online waits until an access server holds the visitor.
func (b *tab) online() {
	b.t.Helper()
	b.wait(`document.querySelector("#link").dataset.state === "online"`)
}

// press presses a key as a keyboard does: what its default action types is not typed a second time.
func (b *tab) press(key string, code int64) {
	b.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeChar, input.DispatchKeyEventTypeKeyUp} {
		text := ""
		if kind == input.DispatchKeyEventTypeChar {
			if key != "Enter" || eval[bool](b, `document.activeElement.tagName === "TEXTAREA" || document.activeElement.tagName === "BODY"`) {
				continue
			}
			text = "\r"
		}
		b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, input.DispatchKeyEvent, input.DispatchKeyEventParams{
				Type: kind, Key: key, Code: key, Text: text, WindowsVirtualKeyCode: code,
			})
			return err
		}))
	}
}

// look opens a conversation.
func (b *tab) look(key string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.hash = %q`, key)))
	b.wait(`!document.querySelector("#composer").hidden`)
}

// say writes into the conversation that is open, and waits until it is stored.
func (b *tab) say(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.write(text)
	}
	b.wait(`document.querySelectorAll("li.sending, li.failed").length === 0`)
}

// write writes into the conversation that is open.
func (b *tab) write(text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.ID("draft"), text))
	b.press("Enter", 13)
	b.wait(`document.querySelector("#draft").value === ""`)
}

// messages are the texts in the conversation that is open, in their order.
func (b *tab) messages() []string {
	b.t.Helper()
	return eval[[]string](b, `Array.from(document.querySelectorAll("#message-list .bubble p"), (p) => p.textContent)`)
}

// sees waits until the conversation that is open consists of these texts, in this order.
func (b *tab) sees(want ...string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := b.messages()
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s sees\n\t%s\nwant\n\t%s", b.name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		b.wait(fmt.Sprintf(`document.querySelectorAll("#message-list .bubble").length !== %d || %t`, len(got), len(got) == len(want)))
		time.Sleep(5 * time.Millisecond) // the texts may change without their number
	}
}

// screenshot takes a picture of the page as it is at this size and in this colour scheme.
func (b *tab) screenshot(width, height int64, scheme string) []byte {
	b.t.Helper()
	b.do(
		chromedp.EmulateViewport(width, height, func(p *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
			p.Mobile = width < 720
		}),
		chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			return err
		}),
	)
	// Two frames: the first lays out anew, the second shows it.
	eval[bool](b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	return picture
}
