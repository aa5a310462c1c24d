package wstest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet/libnettest"
)

// buildChat makes a program of examples/chat.
func buildChat(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "chat")
	build := exec.Command("go", "build", "-o", program, "./examples/chat")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// startChat runs the program until stop or the test's end, with its page at an address, whose port may be 0.
func startChat(t *testing.T, program, address string) (page string, stop func()) {
	t.Helper()
	server := exec.Command(program, "-listen", "127.0.0.1:0", "-web", address)
	stdout, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil {
			t.Errorf("the chat ended with %v", err)
		}
	})
	t.Cleanup(stop)
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	_, page, _ = strings.Cut(lines.Text(), "browsers at ")
	page, _, _ = strings.Cut(page, ";")
	return page, stop
}

// A chatter is somebody before examples/chat's page.
type chatter struct {
	*testing.T
	tab context.Context
}

func openChat(t *testing.T, browser context.Context, page, name, password string) *chatter {
	t.Helper()
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	c := &chatter{t, tab}
	c.do(chromedp.Navigate(page))
	c.logIn(name, password)
	return c
}

func (c *chatter) do(steps ...chromedp.Action[chromedp.Void]) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		c.Fatal(err)
	}
}

func (c *chatter) logIn(name, password string) {
	c.Helper()
	c.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`
		document.getElementById("name").value = %q;
		document.getElementById("password").value = %q;
		document.getElementById("login").requestSubmit();`, name, password)))
}

func (c *chatter) types(line string) {
	c.Helper()
	c.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`
		document.getElementById("line").value = %q;
		document.getElementById("composer").requestSubmit();`, line)))
}

// sees waits until the last lines of the page are these, and the line above says who is there.
func (c *chatter) sees(people string, lines ...string) {
	c.Helper()
	c.do(chromedp.Poll[chromedp.Void](fmt.Sprintf(`(() => {
		const log = Array.from(document.getElementById("log").children, (line) => line.textContent);
		return document.getElementById("people").textContent === %q && log.slice(-%d).join("\n") === %q;
	})()`, people, len(lines), strings.Join(lines, "\n")), chromedp.WithPollingTimeout(patience)))
}

func TestTheChatsPageTalks(t *testing.T) {
	browser := startBrowser(t)
	program := buildChat(t)
	page, stop := startChat(t, program, "127.0.0.1:0")
	ann := openChat(t, browser, page, "ann", "secrte")
	ann.sees("", "wrong name or password")
	ann.logIn("ann", "secret")
	ann.sees("lobby: ann", "You are in lobby")
	bob := openChat(t, browser, page, "bob", "secret")
	bob.sees("lobby: ann, bob", "You are in lobby")
	ann.sees("lobby: ann, bob", "bob has come")
	bob.types("<b>hello</b>")
	ann.sees("lobby: ann, bob", "bob: <b>hello</b>")
	ann.types("/w bob psst: quiet")
	bob.sees("lobby: ann, bob", "bob: <b>hello</b>", "ann whispers: psst: quiet")
	ann.types("/w zed hello")
	ann.sees("lobby: ann, bob", "there is no such user")
	bob.types("/join garden")
	bob.sees("garden: bob", "You are in garden")
	ann.sees("lobby: ann", "bob has gone")

	network := libnettest.NewProxy(t, "tcp", strings.Trim(strings.TrimPrefix(page, "http://"), "/"), libnettest.Chaos{Every: -1})
	cid := openChat(t, browser, "http://"+network.Addr().String()+"/", "cid", "secret")
	cid.sees("lobby: ann, cid", "You are in lobby")
	for _, line := range []string{"one", "two"} { // talks on, and is told what was said meanwhile, and nothing twice
		network.CutAll()
		cid.types(line)
		ann.types("meanwhile " + line)
		ann.sees("lobby: ann, cid", "ann: meanwhile "+line, "cid: "+line)
		cid.sees("lobby: ann, cid", "ann: meanwhile "+line, "cid: "+line)
	}
	cid.do(chromedp.Navigate("about:blank"))
	ann.sees("lobby: ann", "cid has gone")
	network.Close()

	other := openChat(t, browser, page, "ann", "secret")
	other.sees("lobby: ann", "You are in lobby")
	ann.sees("", "you have logged in elsewhere")
	other.types("still here")
	other.sees("lobby: ann", "ann: still here")

	stop()
	startChat(t, program, strings.Trim(strings.TrimPrefix(page, "http://"), "/"))
	other.sees("lobby: ann", "ann: still here", "You are in lobby")
	bob.sees("garden: bob", "You are in garden", "You are in garden")
}
