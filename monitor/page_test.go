package monitor_test

import (
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
)

// inline is what the policy forbids, and what would ask somebody else.
var inline = regexp.MustCompile(`(?i)<script(?: defer)?>|<style|\sstyle=|\son[a-z]+=|javascript:|https?://|@import|(?-i:url\()`)

func TestThePageHasNothingInlineAndAsksNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		variety(t, srv)
		h := monitor.Handler(srv, monitor.Options{Authorize: anybody, RemoteAddrs: true})
		for _, path := range []string{"/", "/style.css", "/script.js"} {
			if found := inline.FindString(get(t, h, path)); found != "" {
				t.Errorf("%s has %q in it", path, found)
			}
		}
	})
}

// The page is HTML that happens to be XML but for its void elements and bare attributes.
func TestThePageIsWellFormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{Authorize: anybody, RemoteAddrs: true})
		check := func() {
			t.Helper()
			page := get(t, h, "/")
			page = regexp.MustCompile(`<(meta|link|img|input)([^>]*)>`).ReplaceAllString(page, "<$1$2/>")
			page = regexp.MustCompile(` (defer|hidden)>`).ReplaceAllString(page, ` $1="">`)
			d := xml.NewDecoder(strings.NewReader(page))
			d.Entity = xml.HTMLEntity
			ids := make(map[string]bool)
			for {
				token, err := d.Token()
				if token == nil {
					if err.Error() != "EOF" {
						t.Errorf("%v", err)
					}
					return
				}
				start, _ := token.(xml.StartElement)
				for _, a := range start.Attr {
					if a.Name.Local == "id" && ids[a.Value] {
						t.Errorf("two elements have the id %q", a.Value)
					}
					ids[a.Value] = ids[a.Value] || a.Name.Local == "id"
				}
			}
		}
		check()
		variety(t, srv)
		check()
	})
}

// rows are the texts of the cells of a part of the page.
func rows(page, part string) (rows [][]string) {
	_, page, _ = strings.Cut(page, ` id="`+part+`"`)
	_, page, _ = strings.Cut(page, "<tbody>")
	page, _, _ = strings.Cut(page, "</tbody>")
	tag := regexp.MustCompile(`<[^>]*>`)
	for _, row := range strings.Split(page, "</tr>") {
		var cells []string
		for _, cell := range regexp.MustCompile(`(?s)<t[hd].*?</t[hd]>`).FindAllString(row, -1) {
			text := html.UnescapeString(tag.ReplaceAllString(cell, ""))
			cells = append(cells, strings.Join(strings.Fields(text), " "))
		}
		if cells != nil {
			rows = append(rows, cells)
		}
	}
	return rows
}

func TestThePageIsATableWithoutAScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		if page := get(t, h, "/"); !strings.Contains(page, "No session is open.") || !strings.Contains(page, `<noscript><meta http-equiv="refresh"`) {
			t.Error("the page of an idle server")
		}
		var last *libnet.Session
		for i := range 40 {
			s, far := adopt(t, srv)
			for range i + 1 {
				say(t, s, far, "hello")
			}
			go s.Receive()
			last = s
		}
		synctest.Wait()
		time.Sleep(90 * time.Second)
		got := rows(get(t, h, "/?sort=messages_in"), "sessions")
		if len(got) != 15 {
			t.Fatalf("%d sessions on the page", len(got))
		}
		want := fmt.Sprint([]string{fmt.Sprint(last.ID()), "other", "–", "0.4", "40", "0", "280 B", "0 B", "0", "0 B", "0", "1 m 30 s", "1 m 30 s"})
		if fmt.Sprint(got[0]) != want {
			t.Errorf("the first: %v; want %v", got[0], want)
		}
		if got := rows(get(t, h, "/?sort=id"), "sessions"); got[14][4] != "15" {
			t.Errorf("by number, the last: %v", got[14])
		}
		_ = last.CloseWithError(libnet.ErrMalformedFrame)
		time.Sleep(3 * time.Second)
		page := get(t, h, "/")
		want = fmt.Sprint([]string{fmt.Sprint(last.ID()), "malformed_frame", "3 s ago", "1 m 30 s", "40", "0", "0"})
		if got := rows(page, "closes"); len(got) != 1 || fmt.Sprint(got[0]) != want {
			t.Errorf("the last closes: %v; want %v", got, want)
		}
		if got := rows(page, "reasons"); len(got) != 1 || got[0][0] != "malformed_frame" || got[0][2] != "1" {
			t.Errorf("the reasons: %v", got)
		}
	})
}

func TestThePageDoesNotGuessWhatToSortBy(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{})
	for _, sort := range []string{"size", "closed", "<b>"} {
		if w := serve(h, request("GET", "/?sort="+sort)); w.Code != http.StatusBadRequest {
			t.Errorf("sort=%s: %d", sort, w.Code)
		}
	}
	for _, link := range regexp.MustCompile(`href="\./(\?sort=\w+)#sessions"`).FindAllStringSubmatch(get(t, h, "/"), -1) {
		if page := get(t, h, "/"+link[1]); !strings.Contains(page, "aria-sort") {
			t.Errorf("after %s no column is said to be sorted", link[1])
		}
	}
}

// points are the values of a chart's lines.
func points(t *testing.T, page, title string) (lines [][]string) {
	t.Helper()
	_, page, found := strings.Cut(page, "<h2>"+title)
	if !found {
		t.Fatalf("no chart of %s", title)
	}
	page, _, _ = strings.Cut(page, "</article>")
	for _, m := range regexp.MustCompile(`data-values="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		lines = append(lines, strings.Fields(m[1]))
	}
	return lines
}

func TestTheChartsShowWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		s, far := adopt(t, srv)
		go func() {
			for {
				if _, err := s.Receive(); err != nil {
					return
				}
			}
		}()
		look := func(messages int) string {
			for range messages {
				if _, err := far.Write([]byte("\x00\x01x")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			return get(t, h, "/")
		}
		page := look(0)
		if in := points(t, page, "Messages")[0]; len(in) != 61 || in[60] != "-" {
			t.Errorf("one look has no rate: %v", in)
		}
		for i := range 10 {
			page = look(i * 10)
		}
		if in := points(t, page, "Messages")[0]; strings.Join(in[51:], " ") != "0 10 20 30 40 50 60 70 80 90" {
			t.Errorf("messages in: %v", in)
		}
		if open := points(t, page, "Sessions")[0]; strings.Join(open[49:], " ") != "- 1 1 1 1 1 1 1 1 1 1 1" {
			t.Errorf("sessions: %v", open)
		}
		if !strings.Contains(page, "<b>85.0</b>") { // of the last two seconds
			t.Error("the rate in words")
		}
		for range 400 {
			page = look(7)
		}
		in := points(t, page, "Messages")[0]
		if strings.Join(in, " ") != strings.TrimSpace("- "+strings.Repeat("7 ", 150)) {
			t.Errorf("after more than five minutes: %v", in)
		}
		time.Sleep(time.Minute)
		gap := points(t, look(0), "Sessions")[0]
		if strings.Count(strings.Join(gap, " "), "-") < 28 {
			t.Errorf("a minute when nobody looked: %v", gap)
		}
	})
}

func TestAMonitorThatListensLooksWhileNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		address := listen(t, monitor.Options{Authorize: anybody}, srv)
		time.Sleep(30*time.Second + time.Second/2)
		adopt(t, srv)
		time.Sleep(10 * time.Second)
		open := points(t, address("/"), "Sessions")[0]
		if got := strings.Join(open[20:], " "); got != strings.Repeat("0 ", 31)+strings.TrimSpace(strings.Repeat("1 ", 10)) {
			t.Errorf("sessions: %v", got)
		}
	})
}

// A page that asks a moment after the monitor's own look makes no second point of that moment, and needs one at the
// end.
func TestTheChartsEndWithTheNumbersBesideThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		time.Sleep(800 * time.Millisecond)
		get(t, h, "/")
		time.Sleep(400 * time.Millisecond)
		adopt(t, srv)
		open := points(t, get(t, h, "/"), "Sessions")[0]
		if open[len(open)-1] != "1" {
			t.Errorf("sessions: %v", open)
		}
	})
}

// wantNotes wants numbers of a page by their ids.
func wantNotes(t *testing.T, page string, notes map[string]string) {
	t.Helper()
	page = html.UnescapeString(page)
	for id, want := range notes {
		if _, after, _ := strings.Cut(page, `id="`+id+`"`); !strings.Contains(after[:min(len(after), 60)], ">"+want+"<") {
			t.Errorf("%s is not %s: %.60s", id, want, after)
		}
	}
}

func TestThePageTellsHowLongHandlersTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint16BE, codec.Bytes), 8)
		srv.Histograms = true
		h := monitor.Handler(srv, monitor.Options{})
		client := libnettest.ServeMessages(t, srv, libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			d, _ := time.ParseDuration(string(msg))
			time.Sleep(d)
			s.Send(msg)
		})).Dial()
		for _, d := range []string{"1ms", "1ms", "500ms"} {
			client.Send(d)
			client.Receive()
		}
		synctest.Wait()
		wantNotes(t, get(t, h, "/"), map[string]string{"handler_50": "1.05\u00a0ms", "handler_99": "537\u00a0ms"})
	})
}

func TestThePageTellsHowLongMessagesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint16BE, codec.Bytes), 64)
		srv.Histograms = true
		h := monitor.Handler(srv, monitor.Options{})
		client, s := libnettest.ServeMessages(t, srv, libnet.MessageHandlerFunc(func(*libnet.Session, []byte) {})).Pair()
		get(t, h, "/")
		for range 3 {
			s.Send("first")
			client.Receive()
		}
		const long = 32 << 10
		for range 5 {
			s.Send(make([]byte, long)) // of which the connection takes one, and a part of another
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		for range 5 {
			client.Receive()
		}
		synctest.Wait()
		page := get(t, h, "/")
		wantNotes(t, page, map[string]string{"wait_50": "1\u00a0µs", "wait_99": "4.3\u00a0s"})
		if waits := points(t, page, "Queue wait")[0]; waits[len(waits)-1] != "1500" { // 4 of 8 have waited for 3 s
			t.Errorf("on average %v ms", waits)
		}
	})
}

func TestThePageHasNothingThatNobodyMeasures(t *testing.T) {
	page := get(t, monitor.Handler(newServer(t), monitor.Options{}), "/")
	for _, title := range []string{"Handlers", "Queue wait"} {
		if strings.Contains(page, title) {
			t.Errorf("the page has %s", title)
		}
	}
}
