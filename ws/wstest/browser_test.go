package wstest

import (
	"context"
	_ "embed"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

//go:embed testdata/scenario.js
var scenario string

func TestABrowsersWebSocketIsUnderstood(t *testing.T) {
	browser := startBrowser(t)
	eachMode(t, func(t *testing.T, m mode) {
		text, binary, servers := webSockets(t, m)
		tab, cancel := chromedp.NewContext(browser)
		defer cancel()
		if err := chromedp.Do(tab); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(tab, patience)
		defer cancel()
		call := fmt.Sprintf("%s\nscenario(WebSocket, {text: %q, binary: %q})", scenario, text, binary)
		problems, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](call, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range problems {
			t.Error(problem)
		}
		wantEnds(t, servers, m)
	})
}

func startBrowser(t *testing.T) context.Context {
	t.Helper()
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program(t, "chromium-headless-shell", "chrome-headless-shell", "chromium", "google-chrome")),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // as for the other page tests: root has none
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors", true),
	)...)
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
