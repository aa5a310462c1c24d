package monitortest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

// The pictures of the README are made with
//
//	go test -run 'Browser/fits' -busy 55s -screenshots ../screenshots .
var (
	screenshots = flag.String("screenshots", "", "write the page's pictures to this folder; default a temporary one")
	busy        = flag.Duration("busy", time.Second, "how long the server on the pictures has had clients")
)

// fitsPhonesAndDesktops takes the pictures, and checks what can be checked of a look: they have the size that they
// should have, nothing is wider than the window, and light differs from dark.
func fitsPhonesAndDesktops(t *testing.T, open opener) {
	folder := *screenshots
	if folder == "" {
		folder = t.TempDir()
	}
	const clients = 48
	srv := newServer(t, setForCrowd, func(srv *libnet.Server) {
		srv.MaxSessions, srv.Histograms = 10_000, true
		srv.OnSession = func(s *libnet.Session) error {
			s.SetName(fmt.Sprintf("meter-%05d", 7919*s.ID()%100_000))
			return nil
		}
	})
	options := monitor.Options{
		Groups: map[string]func() int{"meters": srv.Manager().Len, "gateways": func() int { return 3 }},
		Gauges: []monitor.Gauge{{Name: "readings_behind", Help: "Readings not yet stored.", Value: func() float64 { return 12 }}},
	}
	page := show(t, options, srv)
	full := show(t, monitor.Options{Name: "front", RemoteAddrs: true, ErrorTexts: true, Authorize: func(*http.Request) bool { return true }}, srv)
	ctx, cancel := context.WithCancel(t.Context())
	wait := gather(ctx, t, srv, clients)
	defer wait()
	defer cancel()
	sleep(ctx, *busy)

	b := open(t, page, full)
	pictures := make(map[string][]byte)
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			for kind, address := range map[string]string{"monitor": page, "operator": full} {
				name := fmt.Sprintf("%s-%d-%s", kind, width, scheme)
				pictures[name] = b.look(name, address, width, scheme)
				if kind != "monitor" {
					continue // the README shows what everybody gets
				}
				if len(pictures[name]) > maxPicture {
					t.Errorf("%s: %d bytes", name, len(pictures[name]))
				}
				if err := os.WriteFile(filepath.Join(folder, name+".png"), pictures[name], 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, name := range []string{"monitor-1280", "monitor-390"} {
		if bytes.Equal(pictures[name+"-light"], pictures[name+"-dark"]) {
			t.Errorf("%s: light and dark look the same", name)
		}
	}
	b.mustBeQuiet()
}

// maxPicture bounds what a picture adds to the repository.
const maxPicture = 320 << 10

// look takes a picture of the whole page at a width, in a colour scheme.
func (b *tab) look(name, address string, width int64, scheme string) (picture []byte) {
	b.Helper()
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, params); err != nil {
		b.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, 800), chromedp.Navigate(address))
	b.live()
	if wide := eval[int64](b, `document.documentElement.scrollWidth`); wide > width {
		b.Errorf("%s: %d pixels wide", name, wide)
	}
	parts := "h1, h2, p, .value, .chart span, .notes span"
	if width > 700 { // on phones, tables with addresses scroll
		parts += ", table"
	}
	if cut := eval[[]string](b, `[...document.querySelectorAll("`+parts+`")]
		.filter((e) => e.checkVisibility() && (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 ||
			e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right + 1))
		.map((e) => e.tagName + " " + e.className + " " + e.textContent.slice(0, 30))`); len(cut) > 0 {
		b.Errorf("%s: wider than its room: %q", name, cut)
	}
	picture = run(b, chromedp.FullScreenshot(100))
	b.fitsSixDigits(name)
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil || int64(config.Width) != width {
		b.Errorf("%s: %d pixels wide (%v)", name, config.Width, err)
	}
	return picture
}

// fitsSixDigits has all large numbers be of six digits, and wants them to stay within their tiles.
func (b *tab) fitsSixDigits(name string) {
	b.Helper()
	if cut := eval[[]string](b, `[...document.querySelectorAll("#tiles .value b")].map((e) => {
		e.textContent = /[a-zA-Z]/.test(e.textContent) ? e.textContent : "888,888";
		return e;
	}).filter((e) => e.parentElement.getBoundingClientRect().right > e.closest(".tile").getBoundingClientRect().right - 8)
		.map((e) => e.closest(".tile").textContent.slice(0, 30))`); len(cut) > 0 {
		b.Errorf("%s: six digits are wider than %q", name, cut)
	}
}
