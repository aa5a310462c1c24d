package page_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// oddTextsAreShownAsTheyAreAndFit has somebody write what breaks layouts. The newest message stays in sight when the
// window becomes narrow and the texts therefore longer.
func oddTextsAreShownAsTheyAreAndFit(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	ada, other := m.open(browser, "Ada"), m.open(browser, strings.Repeat("W", 40))
	ada.enter(m.URL)
	other.enter(m.URL)
	texts := []string{
		strings.Repeat("x", 500),
		"https://example.com/" + strings.Repeat("a/very/long/path/", 20),
		"مرحبا، كيف الحال؟ 123 (abc)",
		"\u202eoverridden\u2066 and not closed",
		"👩\u200d💻🏳️\u200d🌈",
		"Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f\u031e\u0320\u034dalgo",
		"several\nlines\n\n  with  blanks",
		"日本語" + strings.Repeat("かな", 100),
	}
	other.look("u1001")
	for _, text := range texts {
		other.paste(text)
	}
	ada.look("u1002")
	ada.sees(texts...)
	for _, width := range []int64{1280, 390, 1280, 390} {
		fits(t, ada, fmt.Sprint("odd texts at ", width), ada.screenshot(width, height(width), "light"), width)
		ada.wait(atEnd)
		ada.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#messages").scrollTop = 0`))
		ada.wait(`document.querySelector("#messages").scrollTop === 0`)
		ada.do(chromedp.Evaluate[chromedp.Void](`location.hash = ""`))
		ada.wait(`document.querySelector("#composer").hidden`)
		ada.look("u1002")
	}
}

const atEnd = `(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 2)(document.querySelector("#messages"))`

// paste writes what cannot be typed key by key, and waits until it is stored.
func (b *tab) paste(text string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{
		document.querySelector("#draft").value = %s;
		document.querySelector("#composer").requestSubmit();
	}`, quote(text))))
	b.say()
}

// aStoreThatLostItsFilesIsReadAnew has NATS come back empty while the page is open.
func aStoreThatLostItsFilesIsReadAnew(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	ada, grace := m.open(browser, "Ada"), m.open(browser, "Grace")
	ada.enter(m.URL)
	grace.enter(m.URL)
	ada.look("u1002")
	grace.look("u1001")
	ada.say("one", "two", "three")
	grace.sees("one", "two", "three")
	m.nats.Stop()
	if err := os.RemoveAll(m.files); err != nil {
		t.Fatal(err)
	}
	if err := m.nats.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ada.say("four")
	grace.wait(fmt.Sprintf(shows, "four"))
	grace.say("five")
	ada.wait(fmt.Sprintf(shows, "five"))
}

const shows = `Array.from(document.querySelectorAll("#message-list .bubble p"), (p) => p.textContent).includes(%q)`
