package page_test

import (
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestLook(t *testing.T) {
	br := startBrowser(t)
	m := startMessenger(t, "access-1")
	shot := func(b *tab, name string, w, h int64, scheme string) {
		os.WriteFile("/tmp/shots/"+name+".png", b.screenshot(w, h, scheme), 0o644)
	}
	a := m.open(br, "Ada")
	a.visit(m.URL)
	a.wait(`!document.querySelector("#login").hidden`)
	a.do(chromedp.Click(chromedp.ID("login-switch")), chromedp.Click(chromedp.ID("login-submit")))
	shot(a, "token-390", 390, 844, "light")
	a.enter2(m.URL)
	b := m.open(br, "Bob")
	b.enter(m.URL)
	c := m.open(br, "Cleo")
	c.enter(m.URL)
	a.do(chromedp.Reload())
	a.online()
	a.look("g1")
	a.do(chromedp.EmulateViewport(1280, 800))
	a.wait(`!document.querySelector("#people-section").hidden`)
	shot(a, "people", 1280, 800, "light")
	m.stores[0].refuse(true)
	a.look("u1002")
	a.say2("One line that fails", "Another one, and it is quite a bit longer than the first")
	shot(a, "failed-390", 390, 844, "light")
	d := m.open(br, "Ada")
	d.enter(m.URL)
	a.wait(`document.querySelector("#link").dataset.state === "replaced"`)
	shot(a, "replaced-390", 390, 844, "dark")
	shot(a, "replaced-1280", 1280, 800, "light")
	b.look("g5")
}

func (b *tab) enter2(u string) {
	b.do(chromedp.Click(chromedp.ID("login-switch")), chromedp.SendKeys(chromedp.ID("login-name"), b.name))
	b.press("Enter", 13)
	b.online()
}

func (b *tab) say2(texts ...string) {
	for _, x := range texts {
		b.write(x)
	}
	b.wait(`document.querySelectorAll("li.failed").length === 2`)
}
