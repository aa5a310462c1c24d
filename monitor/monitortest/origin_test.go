package monitortest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
)

func buttonClosesItsSession(t *testing.T, open opener) {
	srv := newServer(t)
	address := show(t, monitor.Options{Authorize: monitor.BasicAuth("ops", "secret")}, srv)
	busy, idle := dial(t, srv), dial(t, srv)
	converse(t, busy, 10, 10)
	converse(t, idle, 1, 10)
	b := open(t, address, "http://ops:secret@")
	b.do(chromedp.Navigate(strings.Replace(address, "http://", "http://ops:secret@", 1)))
	b.live()
	asked := make(chan string, 1)
	answer := make(chan bool, 1)
	dialogs := chromedp.Events(b.ctx, page.JavascriptDialogOpening)
	go func() {
		for e, err := range dialogs {
			if err != nil {
				return
			}
			asked <- e.Message
			_, _ = chromedp.Call(b.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: <-answer})
		}
	}()
	id := eval[string](b, `document.querySelector("#sessions tbody th").textContent.trim()`)
	button := chromedp.CSS(`#sessions tbody button`)
	answer <- false
	b.do(chromedp.Click(button))
	if question := <-asked; !strings.Contains(question, "session "+id+"?") {
		t.Errorf("asked %q about session %s", question, id)
	}
	if n := srv.Stats().Open; n != 2 {
		t.Fatalf("the answer was no, and %d sessions are open", n)
	}
	answer <- true
	b.do(chromedp.Click(button))
	b.await(fmt.Sprintf(`document.querySelector("#closes tbody tr")?.cells[0].textContent === "%s"`, id))
	if got := eval[string](b, `document.querySelector("#closes tbody tr").cells[1].textContent`); got != "closed" {
		t.Errorf("the reason: %q", got)
	}
	if _, err := busy.Receive(); err == nil {
		t.Error("its client has received something else than its end")
	}
	if idle.IsClosed() {
		t.Error("the other session was closed, too")
	}
	b.mustBeQuiet()
}

func buttonNeedsNoScript(t *testing.T, open opener) {
	srv := newServer(t)
	o := monitor.Options{Authorize: func(*http.Request) bool { return true }, Hosts: []string{otherName}}
	address := strings.Replace(show(t, o, srv), "127.0.0.1", otherName, 1)
	s := dial(t, srv)
	converse(t, s, 1, 10)
	b := open(t, address)
	b.disableScripts()
	b.do(chromedp.Navigate(address + "?sort=id"))
	b.follow(`#sessions tbody button`)
	if reason := run(b, chromedp.Text(chromedp.CSS(`#closes tbody td`))); reason != "closed" {
		t.Errorf("the reason: %q", reason)
	}
	if sorted := run(b, chromedp.Text(chromedp.CSS(`#sessions`))); !strings.Contains(sorted, "No session is open.") {
		t.Errorf("the sessions: %q", sorted)
	}
	if _, err := s.Receive(); err == nil {
		t.Error("its client has received something else than its end")
	}
	b.mustBeQuiet()
}

// hostile is a conn whose peer has chosen its address, as one behind a proxy may.
type hostile struct{ net.Conn }

const markup = `<b>b</b><img src="http://foreign.example/x" onerror="document.title='owned'"><script>document.title='owned'</script>&amp;`

func (hostile) RemoteAddr() net.Addr { return &net.UnixAddr{Name: markup, Net: "unix"} }

func peersChooseNoMarkup(t *testing.T, open opener) {
	srv := newServer(t)
	page := show(t, monitor.Options{RemoteAddrs: true, ErrorTexts: true}, srv)
	for _, err := range []error{nil, fmt.Errorf("%w: %s", libnet.ErrMalformedFrame, markup), errors.New(markup)} {
		near, far := libnettest.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		s, e := srv.NewSession(hostile{near})
		if e != nil {
			t.Fatal(e)
		}
		s.SetName(markup)
		if err != nil {
			_ = s.CloseWithError(err)
		}
	}
	b := open(t, page)
	b.do(chromedp.Navigate(page))
	for range 2 { // as the server makes it, and as the script brings it up to date
		b.live()
		got := eval[[]string](b, `[...document.querySelectorAll("#sessions td.text, #closes td.text")].map((e) => e.textContent)
			.filter((text) => text && !text.startsWith("127.") && text !== "tcp")`)
		name := markup[:min(len(markup), 128)]
		if want := []string{name, markup, "unix", name, markup, "error" + markup, name, markup, "malformed_framelibnet: malformed frame: " + markup}; !slices.Equal(got, want) {
			t.Errorf("the page has %q; want %q", got, want)
		}
		if n := eval[int](b, `document.querySelectorAll("main b:not(.value b), main img, main script").length`); n != 0 {
			t.Errorf("%d elements came out of text", n)
		}
		dial(t, srv)
		b.await(`document.getElementById("open").value === "2" && document.title.startsWith("2 ")`)
	}
	// The policy would hold, too.
	eval[bool](b, `new Promise((done) => {
		document.addEventListener("securitypolicyviolation", () => done(true), { once: true });
		const script = document.createElement("script");
		script.textContent = "document.title = 'owned'";
		document.body.append(script);
	})`)
	if title := eval[string](b, `document.title`); title == "owned" {
		t.Error("a script in the text has run")
	}
	complaints, _ := b.heard()
	for _, c := range complaints {
		if !strings.Contains(c, "Content Security Policy") {
			t.Error(c)
		}
	}
}

// Somebody else's page, in the browser of an operator who is logged in, tries what it can.
func anotherOriginCanDoNothing(t *testing.T, open opener) {
	srv := newServer(t)
	address := show(t, monitor.Options{Authorize: monitor.BasicAuth("ops", "secret")}, srv)
	converse(t, dial(t, srv), 1, 10)
	var s *libnet.Session
	for s = range srv.Manager().All() {
		break
	}
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, fmt.Sprintf(`<!DOCTYPE html><link rel="icon" href="data:,"><iframe id="frame" src="%[1]s"></iframe>
			<iframe name="sink"></iframe><form id="form" method="post" action="%[1]sclose" target="sink"><input name="id" value="%[2]d"></form>`,
			address, s.ID()))
	}))
	defer foreign.Close()

	b := open(t)
	b.do(chromedp.Navigate(strings.Replace(address, "http://", "http://ops:secret@", 1)))
	b.do(chromedp.Navigate(foreign.URL))
	read := eval[string](b, fmt.Sprintf(`(async () => {
		const got = [];
		for (const path of ["", "varz", "connz", "metrics", "script.js", "readyz"]) {
			for (const credentials of ["omit", "include"]) {
				try { got.push(path + " " + await (await fetch(%[1]q + path, { credentials })).text()); } catch {}
			}
		}
		const posts = [];
		for (const mode of ["cors", "no-cors"]) {
			posts.push(fetch(%[1]q + "close", { method: "POST", mode, credentials: "include", body: new URLSearchParams({ id: "%[2]d" }) }).catch(() => {}));
		}
		await Promise.all(posts);
		const sink = document.querySelector("[name=sink]");
		await new Promise((done) => { sink.onload = done; document.getElementById("form").submit(); });
		return got.join("\n");
	})()`, address, s.ID()))
	if read != "" {
		t.Errorf("another origin has read: %.300s", read)
	}
	if s.IsClosed() {
		t.Error("another origin has closed a session")
	}
	complaints, _ := b.heard()
	framed := false
	for _, c := range complaints {
		framed = framed || strings.Contains(c, "frame-ancestors")
	}
	if !framed {
		t.Errorf("the browser did not say that it refused the frame: %q", complaints)
	}
}
