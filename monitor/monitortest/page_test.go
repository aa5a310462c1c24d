package monitortest

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

// counts are what clients have seen.
type counts struct{ messages, bytes uint64 }

// converse has a client send messages and receive each one back.
func converse(t testing.TB, s *libnet.Session, messages, size int) (sum counts) {
	msg := make([]byte, size)
	for range messages {
		if err := s.Send(msg); err != nil {
			t.Error(err)
			return sum
		}
		if _, err := s.Receive(); err != nil {
			t.Error(err)
			return sum
		}
		sum.messages++
		sum.bytes += uint64(size) + 2 // with the header
	}
	return sum
}

func numbersAreWhatClientsCounted(t *testing.T, open opener) {
	srv := newServer(t)
	page := show(t, monitor.Options{}, srv)
	b := open(t, page)
	b.do(chromedp.Navigate(page))
	b.live()

	const clients = 50
	var mu sync.Mutex
	var sum counts
	var conversing sync.WaitGroup
	for i := range clients {
		s := dial(t, srv)
		conversing.Go(func() {
			c := converse(t, s, 20+i, 10*i)
			mu.Lock()
			defer mu.Unlock()
			sum.messages += c.messages
			sum.bytes += c.bytes
		})
	}
	conversing.Wait()
	for id, want := range map[string]uint64{
		"open": clients, "peak": clients, "accepted": clients, "queued": 0, "queued_bytes": 0, "discarded": 0, "accept_errors": 0,
		"messages_in": sum.messages, "messages_out": sum.messages, "bytes_in": sum.bytes, "bytes_out": sum.bytes,
	} {
		b.await(fmt.Sprintf(`document.getElementById(%q).value === "%d"`, id, want))
	}
	if rows := eval[int](b, `document.querySelectorAll("#sessions tbody tr").length`); rows != 15 {
		t.Errorf("%d sessions in the table", rows)
	}
	sorted := `[...document.querySelectorAll("#sessions tbody tr")].map((row) => Number(row.cells[4].textContent))`
	b.follow(`#sessions a[href*="messages_in"]`)
	got := eval[[]int](b, sorted)
	for i := range got {
		if want := 20 + clients - 1 - i; got[i] != want {
			t.Errorf("sorted by messages in, row %d has %d; want %d", i, got[i], want)
		}
	}
	b.live()
	b.mustBeQuiet()
}

func killedSessionIsSeen(t *testing.T, open opener) {
	srv := newServer(t)
	page := show(t, monitor.Options{}, srv)
	b := open(t, page)
	b.do(chromedp.Navigate(page))
	b.live()

	const bound = 2 * time.Second
	for attempt := 1; ; attempt++ {
		began := time.Now()
		killed := killOneOfEach(t, srv)
		for reason, s := range killed {
			row := fmt.Sprintf(`[...document.querySelectorAll("#closes tbody tr")].find((row) => row.cells[0].textContent === "%d")`, s.ID())
			b.await(row + ` !== undefined`)
			if got := eval[string](b, row+`.cells[1].textContent`); got != reason {
				t.Errorf("the reason: %q; want %q", got, reason)
			}
			if got := eval[string](b, fmt.Sprintf(`document.getElementById("closed-%s").value`, reason)); got != strconv.Itoa(attempt) {
				t.Errorf("closed by %s: %s", reason, got)
			}
		}
		took := time.Since(began)
		if took <= bound {
			break
		}
		if attempt == 3 { // a busy machine may be slow once
			t.Errorf("the page had them after %v; want %v", took, bound)
			break
		}
	}
	b.mustBeQuiet()
}

// killOneOfEach ends sessions in different ways, and returns them by the reason that each should have.
func killOneOfEach(t *testing.T, srv *libnet.Server) map[string]*libnet.Session {
	t.Helper()
	killed := make(map[string]*libnet.Session)
	for reason, kill := range map[string]func(*libnet.Session, *net.TCPConn){
		"eof":             func(_ *libnet.Session, peer *net.TCPConn) { _ = peer.Close() },
		"unexpected_eof":  func(_ *libnet.Session, peer *net.TCPConn) { _, _ = peer.Write([]byte{0}); _ = peer.Close() },
		"reset":           func(_ *libnet.Session, peer *net.TCPConn) { _ = peer.SetLinger(0); _ = peer.Close() },
		"slow_consumer":   func(s *libnet.Session, _ *net.TCPConn) { _ = s.CloseWithError(libnet.ErrSlowConsumer) },
		"malformed_frame": func(s *libnet.Session, _ *net.TCPConn) { _ = s.CloseWithError(libnet.ErrMalformedFrame) },
	} {
		peer, err := net.DialTCP("tcp", nil, srv.Listener().Addr().(*net.TCPAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = peer.Close() })
		if _, err := peer.Write([]byte("\x00\x01x")); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		var s *libnet.Session
		for s = range srv.Manager().All() { // the one that is open
			break
		}
		kill(s, peer)
		<-s.Done()
		killed[reason] = s
	}
	return killed
}

func worksWithoutAScript(t *testing.T, open opener) {
	srv := newServer(t)
	page := show(t, monitor.Options{}, srv)
	for i := range 20 {
		converse(t, dial(t, srv), 1+i, 10)
	}
	settle(t, srv, 210)
	b := open(t, page)
	b.disableScripts()
	b.do(chromedp.Navigate(page))
	text := run(b, chromedp.Text(chromedp.ID("messages_in")))
	if text != "210" {
		t.Errorf("messages in: %q", text)
	}
	if rows := run(b, chromedp.Nodes(chromedp.CSSAll("#sessions tbody tr"))); len(rows) != 15 {
		t.Errorf("%d sessions in the table", len(rows))
	}
	if _, err := chromedp.Run(b.ctx, chromedp.Nodes(chromedp.CSSAll(`noscript meta[http-equiv="refresh"]`))); err != nil {
		t.Errorf("the page is not loaded again: %v", err)
	}
	b.follow(`#sessions a[href*="sort=bytes_in"]`)
	if first := run(b, chromedp.Text(chromedp.CSS(`#sessions tbody tr:first-child td:nth-of-type(4)`))); first != "20" {
		t.Errorf("sorted by bytes in, the first has %s messages", first)
	}
	b.mustBeQuiet()
}

func (b *tab) disableScripts() {
	b.Helper()
	params := emulation.SetScriptExecutionDisabledParams{Value: true}
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, params); err != nil {
		b.Fatal(err)
	}
}

func drainIsSeen(t *testing.T, open opener) {
	srv := newServer(t)
	page := show(t, monitor.Options{}, srv)
	b := open(t, page)
	b.do(chromedp.Navigate(page))
	b.await(`document.getElementById("state").textContent === "accepting"`)
	srv.Stop()
	b.await(`document.getElementById("state").textContent === "draining" && document.title.startsWith("draining")`)
	b.mustBeQuiet()
}

func pausesAndGoesOn(t *testing.T, open opener) {
	srv := newServer(t)
	page := show(t, monitor.Options{}, srv)
	b := open(t, page)
	b.do(chromedp.Navigate(page))
	b.live()
	b.do(chromedp.Click(chromedp.ID("pause")))
	b.await(`document.getElementById("status").textContent === "paused"`)
	b.do(chromedp.Click(chromedp.ID("pause")))
	dial(t, srv)
	b.await(`document.getElementById("open").value === "1"`)
	b.mustBeQuiet()
}

func chartSaysItsValue(t *testing.T, open opener) {
	srv := newServer(t)
	page := show(t, monitor.Options{}, srv)
	dial(t, srv)
	b := open(t, page)
	b.do(chromedp.Navigate(page))
	b.await(`document.querySelector("#tiles .line").dataset.values.endsWith(" 1")`)
	const chart = `document.querySelector("#tiles .chart")`
	before := eval[string](b, chart+`.innerText`)
	at := eval[[]float64](b, `(({right, top}) => [right - 1, top + 30])(`+chart+`.getBoundingClientRect())`)
	b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]))
	b.await(chart + `.querySelector(".most").textContent === "1" && /:/.test(` + chart + `.querySelector(".ago").textContent)`)
	b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 1, 1))
	b.await(chart + `.innerText === ` + strconv.Quote(before))
	b.mustBeQuiet()
}
