package monitortest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet/monitor"
)

// With MONITOR_SHOTS=folder the screenshots are kept there, of a server that has been busy for MONITOR_LOAD,
// as in 5m. The README's was made so.
func fitsPhonesAndDesktops(t *testing.T, open opener) {
	folder, length := t.TempDir(), time.Second
	sessions := 60
	if kept := os.Getenv("MONITOR_SHOTS"); kept != "" {
		folder, sessions = kept, 4000
		if d, err := time.ParseDuration(os.Getenv("MONITOR_LOAD")); err == nil {
			length = d
		}
	}
	srv := newServer(t, setForCrowd(sessions))
	page := show(t, monitor.Options{}, srv)
	full := show(t, monitor.Options{RemoteAddrs: true, Authorize: func(*http.Request) bool { return true }}, srv)
	ctx, cancel := context.WithCancel(t.Context())
	wait := gather(ctx, t, srv, sessions)
	defer wait()
	defer cancel()
	sleep(ctx, length)
	b := open(t, page, full)
	for _, width := range []int64{390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.look(page, width, scheme, filepath.Join(folder, fmt.Sprintf("%d-%s.png", width, scheme)))
		}
		b.look(full, width, "light", filepath.Join(folder, fmt.Sprintf("%d-full.png", width)))
	}
	b.mustBeQuiet()
}

// look keeps a picture of the page at a width, in a color scheme.
func (b *tab) look(page string, width int64, scheme, file string) {
	b.Helper()
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, params); err != nil {
		b.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(page))
	b.live()
	if wide := eval[int64](b, `document.documentElement.scrollWidth`); wide > width {
		b.Errorf("%s at %d is %d wide", page, width, wide)
	}
	back := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
	if dark := back == "rgb(14, 17, 22)"; dark != (scheme == "dark") {
		b.Errorf("in %s the background is %s", scheme, back)
	}
	picture := run(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		b.Fatal(err)
	}
}
