package page_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const lobby = 1 // where the page has those meet who were let in by name

// TestThePageInABrowser shares one browser, whose start takes longer than most of its parts; each of them has tabs with
// a storage of their own, and a messenger of its own.
func TestThePageInABrowser(t *testing.T) {
	browser := startBrowser(t)
	for name, part := range map[string]func(*testing.T, context.Context){
		"two tabs and a TCP client share a room":                     twoTabsAndATCPClientShareARoom,
		"a reload keeps the history in order and once":               aReloadKeepsTheHistoryInOrderAndOnce,
		"a killed access server loses nothing that was acknowledged": aKilledAccessServerLosesNothingThatWasAcknowledged,
		"the scripts' encoding is protobuf's":                        theScriptsEncodingIsProtobufs,
		"what is no message is one error to the scripts":             whatIsNoMessageIsOneErrorToTheScripts,
		"it looks as in the screenshots":                             itLooksAsInTheScreenshots,
		"odd texts are shown as they are and fit":                    oddTextsAreShownAsTheyAreAndFit,
		"a store that lost its files is read anew":                   aStoreThatLostItsFilesIsReadAnew,
		"what users type is never markup":                            whatUsersTypeIsNeverMarkup,
		"a message that failed is sent again under its id":           aMessageThatFailedIsSentAgainUnderItsID,
		"a login elsewhere ends this one and the two do not fight":   aLoginElsewhereEndsThisOneAndTheTwoDoNotFight,
		"a wrong token leads back to the login":                      aWrongTokenLeadsBackToTheLogin,
		"everything can be done with the keyboard and has a name":    everythingCanBeDoneWithTheKeyboardAndHasAName,
	} {
		t.Run(name, func(t *testing.T) { part(t, browser) })
	}
}

func twoTabsAndATCPClientShareARoom(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1", "access-2")
	ada, grace := m.open(browser, "Ada"), m.open(browser, "Grace")
	ada.enter(m.URL)
	grace.enter(m.URL)
	if a, g := ada.serverOf(), grace.serverOf(); a == g || a == "" || g == "" {
		t.Fatalf("Ada is on %q, Grace on %q: want different ones", a, g)
	}
	tcp := m.dial("access-1", 7)
	tcp.ask(&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: lobby})

	ada.look("g1")
	grace.look("g1")
	ada.say("one")
	grace.sees("one")
	grace.say("two")
	ada.sees("one", "two")
	tcp.say(lobby, "id-1", "three")
	ada.sees("one", "two", "three")
	grace.sees("one", "two", "three")
	if got := tcp.sync(); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("over TCP %q", got)
	}
	ada.wait(`document.querySelector("#thread-sub").textContent === "3 members, 3 online"`)

	// Directly, to somebody on another server who looks at something else.
	ada.look("u1002")
	ada.say("psst")
	grace.wait(`document.querySelector('#conversations a[href="#u1001"] .unread').textContent === "1"`)
	grace.wait(`document.title === "(1) Messenger"`)
	grace.look("u1001")
	grace.sees("psst")
	grace.wait(`document.title === "Messenger"`)
	ada.wait(fmt.Sprintf(`document.querySelector("#thread-sub").textContent === "online on %s · User 1002"`, grace.serverOf()))
}

func aReloadKeepsTheHistoryInOrderAndOnce(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	ada := m.open(browser, "Ada")
	ada.enter(m.URL)
	ada.look("g1")

	// More than one answer of the server holds, and more than the page shows at first.
	tcp := m.dial("access-1", 7)
	tcp.ask(&wire.ReqJoinGroup{Cmd: wire.CmdJoinGroup, GroupID: lobby})
	var want []string
	for i := range 230 {
		text := fmt.Sprintf("%d %s", i, strings.Repeat("long ", 80))
		tcp.say(lobby, fmt.Sprint(i), text)
		want = append(want, text)
	}
	ada.sees(want[len(want)-200:]...)
	ada.say("mine")
	want = append(want, "mine")

	for range 2 {
		ada.do(chromedp.Reload())
		ada.online()
		ada.sees(want[len(want)-200:]...)
		ada.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#earlier").click()`))
		ada.sees(want...)
	}
	ada.wait(`document.querySelector("#earlier").hidden`)
	ada.wait(`document.title === "Messenger"`) // what was read stays read
}

func aKilledAccessServerLosesNothingThatWasAcknowledged(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1", "access-2")
	ada, grace := m.open(browser, "Ada"), m.open(browser, "Grace")
	ada.enter(m.URL)
	grace.enter(m.URL)
	ada.look("g1")
	grace.look("g1")
	ada.say("before")
	grace.sees("before")

	// Messages without a break while the server that holds Ada dies.
	const count = 40
	script := func(who string) chromedp.Action[chromedp.Void] {
		return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{
			let i = 0;
			const timer = setInterval(() => {
				document.querySelector("#draft").value = %q + i;
				document.querySelector("#composer").requestSubmit();
				if (++i === %d) clearInterval(timer);
			}, 20);
		}`, who, count))
	}
	ada.do(script("a"))
	grace.do(script("g"))
	ada.wait(`document.querySelectorAll("li.mine:not(.sending)").length > 10`)
	m.kill("access-1")

	for _, b := range []*tab{ada, grace} {
		b.wait(fmt.Sprintf(`document.querySelectorAll(".bubble").length === %d && !document.querySelector("li.sending, li.failed")`, 1+2*count))
		b.online()
		if on := b.serverOf(); on != "access-2" {
			t.Errorf("%s is on %q", b.name, on)
		}
		b.do(chromedp.Reload())
		b.online()
		b.wait(fmt.Sprintf(`document.querySelectorAll(".bubble").length === %d`, 1+2*count))
	}
	first, second := ada.messages(), grace.messages()
	if !slices.Equal(first, second) {
		t.Errorf("Ada sees\n%q\nGrace sees\n%q", first, second)
	}
	for _, who := range []string{"a", "g"} {
		var got []string
		for _, text := range first {
			if strings.HasPrefix(text, who) {
				got = append(got, text)
			}
		}
		for i, text := range got {
			if text != fmt.Sprint(who, i) || len(got) != count {
				t.Fatalf("of %s: %q", who, got)
			}
		}
	}

	// The browser itself reports connections that a dead server refuses, and no page can prevent that.
	for _, b := range []*tab{ada, grace} {
		b.forgive("WebSocket connection to 'ws://127.0.0.1:")
		b.forgive("/pick")
	}

	// The other one dies, too: both say so, and keep what is written until there is a server again.
	m.kill("access-2")
	ada.wait(`!document.querySelector("#banner").hidden && document.querySelector("#banner-text").textContent.startsWith("No connection")`)
	ada.write("into the void")
	ada.do(chromedp.Reload())
	ada.wait(`document.querySelector("li.sending p")?.textContent === "into the void"`)
}

func whatUsersTypeIsNeverMarkup(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	const name = `<b>M</b><img src=x onerror=x()>`
	const text = `<script>document.title="owned"</script><img src="http://foreign.example/x" onerror=alert(1)>&amp;`
	ada, mallory := m.open(browser, "Ada"), m.open(browser, name)
	ada.enter(m.URL)
	mallory.enter(m.URL)
	mallory.look("g1")
	mallory.say(text)
	mallory.look("u1001")
	mallory.say(text)

	ada.look("g1")
	ada.sees(text)
	ada.wait(fmt.Sprintf(`document.querySelector(".sender .name").textContent === %q`, name))
	ada.look("u1002")
	ada.sees(text)
	ada.wait(fmt.Sprintf(`document.querySelector("#thread-name").textContent === %q`, name))
	ada.wait(fmt.Sprintf(`document.querySelector('#conversations a[href="#u1002"] strong').textContent === %q`, name))
	if n := eval[int](ada, `document.querySelectorAll("li b, li script, li img, header b, header img:not(#no-thread img)").length`); n != 0 {
		t.Errorf("%d elements came out of text", n)
	}
	// The policy holds even if the page's own scripts should try.
	if got := eval[string](ada, `(() => { try { document.body.innerHTML = "<b>x</b>"; return "done" } catch (e) { return e.name } })()`); got != "TypeError" {
		t.Errorf("a string became HTML: %s", got)
	}
	ada.forgive("TrustedHTML")
}

func aMessageThatFailedIsSentAgainUnderItsID(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	ada := m.open(browser, "Ada")
	ada.enter(m.URL)
	ada.look("u7")
	m.stores[0].refuse(true)
	ada.write("repeated")
	ada.wait(`document.querySelector("li.failed .mark").textContent.startsWith("Not sent")`)
	m.stores[0].refuse(false)
	ada.do(chromedp.Click(chromedp.CSS("li.failed .retry")))
	ada.wait(`document.querySelector("li.mine:not(.failed):not(.sending) .mark")?.ariaLabel === "Sent"`)
	ids := m.stores[0].idsOf("repeated")
	if len(ids) < 2 || len(slices.Compact(ids)) != 1 {
		t.Errorf("stored under the ids %q, want one for all attempts", ids)
	}
	if got := m.dial("access-1", 7).sync(); !slices.Equal(got, []string{"repeated"}) {
		t.Errorf("the receiver got %q", got)
	}

	// What can never be sent is said at once, and can be taken back.
	ada.do(chromedp.Evaluate[chromedp.Void](`{
		document.querySelector("#draft").value = "x".repeat(62000);
		document.querySelector("#composer").requestSubmit();
	}`))
	ada.wait(`document.querySelector("li.failed .mark").textContent === "Not sent: message too long"`)
	ada.do(chromedp.Click(chromedp.CSS("li.failed .discard")))
	ada.sees("repeated")
}

func aLoginElsewhereEndsThisOneAndTheTwoDoNotFight(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1", "access-2")
	here, there := m.open(browser, "Ada"), m.open(browser, "Ada")
	here.enter(m.URL)
	there.enter(m.URL)
	const replaced = `document.querySelector("#link").dataset.state === "replaced"`
	here.wait(replaced)
	here.do(chromedp.Click(chromedp.ID("banner-action")))
	there.wait(replaced)
	here.online()
	if n := len(there.opened()); n != 1 {
		t.Errorf("the one that was replaced opened %d connections", n)
	}
}

func aWrongTokenLeadsBackToTheLogin(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	ada := m.open(browser, "Ada")
	ada.visit(m.URL)
	ada.wait(`!document.querySelector("#login-name-field").hidden`)
	logIn := func(user, token string) {
		t.Helper()
		ada.do(
			chromedp.SetValue(chromedp.ID("login-user"), user), chromedp.SetValue(chromedp.ID("login-token"), token),
			chromedp.Click(chromedp.ID("login-submit")),
		)
	}
	ada.do(chromedp.Click(chromedp.ID("login-switch")))
	logIn("<i>", "x")
	ada.wait(`document.querySelector("#login-problem").textContent === "A user id is a number."`)
	logIn("42", m.tokens.Issue(43, tokenLife))
	ada.wait(`document.querySelector("#login-problem").textContent === "The access server does not accept this token."`)
	logIn("42", m.tokens.Issue(42, tokenLife))
	ada.online()
	ada.wait(`document.querySelector("#me-name").textContent === "User 42"`)
	ada.do(chromedp.Click(chromedp.ID("logout")))
	ada.wait(`!document.querySelector("#login").hidden`)
	ada.do(chromedp.Reload())
	ada.wait(`!document.querySelector("#login").hidden`)
}

func everythingCanBeDoneWithTheKeyboardAndHasAName(t *testing.T, browser context.Context) {
	m := startMessenger(t, "access-1")
	ada := m.open(browser, "Ada")
	ada.enter(m.URL)
	ada.look("g1")
	nameless := eval[[]string](ada, `Array.from(document.querySelectorAll("button, input, textarea, a[href], [role=log]"))
		.filter((e) => !e.hidden && !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)`)
	if len(nameless) > 0 {
		t.Errorf("without a name: %q", nameless)
	}
	ada.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	ada.press("Escape", 27)
	ada.wait(`location.hash === "" && document.activeElement.matches("#conversations a")`)
	ada.press("n", 'N')
	ada.wait(`document.activeElement.id === "new-id"`)
	ada.do(chromedp.SendKeys(chromedp.ID("new-id"), "12"))
	ada.press("Enter", 13)
	ada.wait(`location.hash === "#u12" && document.activeElement.id === "draft"`)
	ada.say("by hand")

	// A group by its number, and out of it again.
	ada.press("Escape", 27)
	ada.press("n", 'N')
	ada.do(chromedp.Click(chromedp.CSS(`#new-form label:nth-of-type(2)`)), chromedp.SendKeys(chromedp.ID("new-id"), "5"))
	ada.press("Enter", 13)
	ada.wait(`document.querySelector("#thread-name").textContent === "Group 5"`)
	ada.do(chromedp.Click(chromedp.ID("leave")), chromedp.Click(chromedp.ID("leave-submit")))
	ada.wait(`location.hash === "" && !document.querySelector('#conversations a[href="#g5"]')`)
}
