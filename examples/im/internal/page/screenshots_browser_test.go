package page_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// The pictures of the README are made with
//
//	go test -run 'Browser/looks' ./internal/page -screenshots screenshots
var screenshots = flag.String("screenshots", "", "write the page's pictures to this folder; default a temporary one")

// itLooksAsInTheScreenshots takes the pictures, and checks what can be checked of a look: they have the
// size they should have, nothing is wider than the window, and light differs from dark.
func itLooksAsInTheScreenshots(t *testing.T, browser context.Context) {
	folder := *screenshots
	if folder == "" {
		folder = t.TempDir()
	}
	m := startMessenger(t, "access-1", "access-2")
	ada := converse(m, browser)

	pictures := make(map[string][]byte)
	for _, width := range []int64{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			for _, scene := range []struct{ name, hash string }{{"chat", "g1"}, {"list", ""}} {
				if scene.name == "list" && width == 1280 {
					continue // beside the chat
				}
				ada.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.hash = %q`, scene.hash)))
				name := fmt.Sprintf("%s-%d-%s", scene.name, width, scheme)
				pictures[name] = ada.screenshot(width, height(width), scheme)
				fits(t, ada, name, pictures[name], width)
				if err := os.WriteFile(filepath.Join(folder, name+".png"), pictures[name], 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if bytes.Equal(pictures["chat-390-light"], pictures["chat-390-dark"]) {
		t.Error("light and dark look the same")
	}
}

func height(width int64) int64 {
	if width < 720 {
		return 844
	}
	return 800
}

// maxPicture bounds what a picture adds to the repository.
const maxPicture = 150 << 10

func fits(t *testing.T, b *tab, name string, picture []byte, width int64) {
	t.Helper()
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil || int64(config.Width) != width || int64(config.Height) != height(width) || len(picture) > maxPicture {
		t.Errorf("%s: %d × %d, %d bytes (%v)", name, config.Width, config.Height, len(picture), err)
	}
	if wide := eval[int64](b, `document.documentElement.scrollWidth`); wide > width {
		t.Errorf("%s: %d pixels wide", name, wide)
	}
	if outside := eval[[]string](b, `Array.from(document.querySelectorAll("#app *"))
		.filter((e) => e.checkVisibility() && !e.closest(".hidden-label") && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.id || e.className)`); len(outside) > 0 {
		t.Errorf("%s: outside the window: %q", name, outside)
	}
}

// converse has three people talk about what happens to them, and returns the tab of one of them.
func converse(m *messenger, browser context.Context) *tab {
	m.t.Helper()
	ada, grace, mira := m.open(browser, "Ada"), m.open(browser, "Grace Hopper"), m.open(browser, "Mira Lund")
	for _, b := range []*tab{ada, grace, mira} {
		b.enter(m.URL)
	}
	say := func(b *tab, key string, texts ...string) {
		b.look(key)
		b.say(texts...)
	}
	say(grace, "u1001", "Are the figures for the talk ready?")
	say(ada, "u1002", "By noon. One more run.")
	say(mira, "u1001", "Lunch at one, as always?")
	say(grace, "g1", "Good morning! Which server are you on?")
	say(ada, "g1", "access-1, says the corner down left.")
	say(mira, "g1", "access-1 as well. Shall we switch it off?")
	say(grace, "g1", "Please do, I am on the other one.", "And write something while it is gone.")
	m.kill("access-1")
	say(ada, "g1", "It went down while I was typing this, and here it is all the same.")
	say(mira, "g1", "Not a word missing, <b>and none twice</b>.")
	for _, b := range []*tab{ada, mira} {
		b.online()
	}
	ada.look("g1")
	ada.wait(`document.querySelectorAll("#message-list .bubble").length === 7`)
	ada.wait(`document.querySelectorAll("#conversations .avatar.online").length === 2`)
	ada.wait(`document.querySelector("#thread-sub").textContent === "3 members, 3 online"`)
	return ada
}
