package monitor_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

type session = monitor.Session

// The orders that Connz documents, written once more.
var documented = map[string]func(a, b session) int{
	"id":            func(a, b session) int { return cmp.Compare(a.ID, b.ID) },
	"opened":        func(a, b session) int { return a.Opened.Compare(b.Opened) },
	"last_received": func(a, b session) int { return a.LastReceived.Compare(b.LastReceived) },
	"rate":          func(a, b session) int { return cmp.Compare(b.Rate, a.Rate) },
	"messages":      func(a, b session) int { return cmp.Compare(b.MessagesIn+b.MessagesOut, a.MessagesIn+a.MessagesOut) },
	"messages_in":   func(a, b session) int { return cmp.Compare(b.MessagesIn, a.MessagesIn) },
	"messages_out":  func(a, b session) int { return cmp.Compare(b.MessagesOut, a.MessagesOut) },
	"bytes":         func(a, b session) int { return cmp.Compare(b.BytesIn+b.BytesOut, a.BytesIn+a.BytesOut) },
	"bytes_in":      func(a, b session) int { return cmp.Compare(b.BytesIn, a.BytesIn) },
	"bytes_out":     func(a, b session) int { return cmp.Compare(b.BytesOut, a.BytesOut) },
	"queued":        func(a, b session) int { return cmp.Compare(b.Queued, a.Queued) },
	"queued_bytes":  func(a, b session) int { return cmp.Compare(b.QueuedBytes, a.QueuedBytes) },
	"discarded":     func(a, b session) int { return cmp.Compare(b.Discarded, a.Discarded) },
	"closed":        func(a, b session) int { return b.Closed.Compare(a.Closed) },
}

// variety makes 40 sessions, of which no two are alike in everything, and closes every fourth.
func variety(t *testing.T, srv *libnet.Server) {
	for i := range 40 {
		s, far := adopt(t, srv)
		for j := range i * 7 % 5 {
			say(t, s, far, strings.Repeat("x", 1+i*13%11*j))
		}
		time.Sleep(time.Duration(i*11%7) * time.Second)
		for range i * 5 % 8 {
			if err := s.Send(make([]byte, i*17%9)); err != nil {
				t.Fatal(err)
			}
		}
		if i%3 == 0 {
			backlog(t, srv, i*3%8)
		}
		synctest.Wait()
		if i%4 == 0 {
			_ = s.Close()
		}
	}
}

func TestEveryOrderAndEveryPageIsAsDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		variety(t, srv)
		for order, compare := range documented {
			for _, state := range []string{"", "open", "closed"} {
				if order == "closed" && state != "closed" {
					continue
				}
				query := "/connz?sort=" + order
				if state != "" {
					query += "&state=" + state
				}
				all := getJSON[monitor.Connz](t, h, query+"&limit=1000")
				if all.Total != len(all.Sessions) || all.Total < 10 || all.Sort != order || all.State != state {
					t.Fatalf("%s: %d of %d sessions", query, len(all.Sessions), all.Total)
				}
				want := slices.Clone(all.Sessions)
				slices.SortFunc(want, func(a, b session) int { return cmp.Or(compare(a, b), cmp.Compare(a.ID, b.ID)) })
				if order != "rate" && !slices.Equal(ids(all.Sessions), ids(want)) { // rates are rounded in the answer
					t.Errorf("%s: %v; want %v", query, ids(all.Sessions), ids(want))
				}
				for _, page := range [][2]int{{0, 1}, {0, 7}, {5, 7}, {all.Total - 3, 7}, {all.Total, 7}, {1 << 30, 7}} {
					from, limit := page[0], page[1]
					c := getJSON[monitor.Connz](t, h, fmt.Sprintf("%s&offset=%d&limit=%d", query, from, limit))
					from = min(from, all.Total)
					part := all.Sessions[from:min(from+limit, all.Total)]
					if c.Total != all.Total || !slices.Equal(ids(c.Sessions), ids(part)) {
						t.Errorf("%s from %d: %v; want %v", query, from, ids(c.Sessions), ids(part))
					}
				}
			}
		}
	})
}

func ids(sessions []session) []uint64 {
	ids := make([]uint64, 0, len(sessions))
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestClosedSessionsSayWhenAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		s, far := adopt(t, srv)
		opened := time.Now()
		time.Sleep(time.Minute)
		say(t, s, far, "hello")
		received := time.Now()
		time.Sleep(time.Hour)
		_ = s.CloseWithError(libnet.ErrIdleTimeout)
		c := getJSON[monitor.Connz](t, h, "/connz?state=closed")
		if c.Total != 1 || c.Sort != "closed" {
			t.Fatalf("%+v", c)
		}
		got := c.Sessions[0]
		if got.ID != s.ID() || got.State != "closed" || got.Reason != "idle_timeout" || got.MessagesIn != 1 ||
			!got.Closed.Equal(time.Now()) || !got.Opened.Equal(opened) || !got.LastReceived.Equal(received) {
			t.Errorf("%+v", got)
		}
	})
}

func TestABadParameterIsAClearError(t *testing.T) {
	h := monitor.Handler(newServer(t), monitor.Options{})
	for query, want := range map[string]string{
		"sort=size":           `"size"`,
		"sort=":               "sort",
		"sort=closed":         "state=closed",
		"limit=0":             "from 1 to 1000",
		"limit=1001":          "from 1 to 1000",
		"limit=-1":            "from 1 to 1000",
		"limit=ten":           `"ten"`,
		"limit=":              "limit",
		"limit=1e2":           `"1e2"`,
		"offset=-1":           "from 0",
		"offset=9999999999":   "from 0",
		"state=dead":          "open, closing or closed",
		"state=OPEN":          "open, closing or closed",
		"ofset=1":             `"ofset"`,
		"limit=1&limit=2":     "2 times",
		"sort=id;limit=1":     "semicolon",
		"limit=%zz":           "escape",
		"sort=<script>":       "sort",
		"state=closed&id=1":   `"id"`,
		"limit=1&offset=&a=b": "",
	} {
		r := request("GET", "/connz")
		r.URL.RawQuery = query
		w := serve(h, r)
		var got struct{ Error string }
		err := json.Unmarshal(w.Body.Bytes(), &got)
		if w.Code != http.StatusBadRequest || err != nil || got.Error == "" || !strings.Contains(got.Error, want) {
			t.Errorf("?%s: %d %s; want %s", query, w.Code, w.Body, want)
		}
		if kind := w.Header().Get("Content-Type"); kind != "application/json" {
			t.Errorf("?%s: %s", query, kind)
		}
	}
	if c := getJSON[monitor.Connz](t, h, "/connz"); c.Limit != 100 || c.Offset != 0 || c.Sort != "rate" || c.Sessions == nil {
		t.Errorf("by default: %+v", c)
	}
}

func TestARateIsOfLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		h := monitor.Handler(srv, monitor.Options{})
		was, farWas := adopt(t, srv)
		is, farIs := adopt(t, srv)
		for range 1000 {
			say(t, was, farWas, "busy")
		}
		rates := func() [2]float64 {
			c := getJSON[monitor.Connz](t, h, "/connz?sort=id")
			return [2]float64{c.Sessions[0].Rate, c.Sessions[1].Rate}
		}
		for range 9 {
			time.Sleep(time.Second)
			say(t, is, farIs, "busy")
		}
		say(t, is, farIs, "counted when the receiver waits, so one behind")
		go is.Receive()
		go was.Receive()
		synctest.Wait()
		time.Sleep(time.Second)
		if got := rates(); got != [2]float64{100, 1} {
			t.Errorf("before there was a look to compare with: %v; want the average since they opened", got)
		}
		for range 3 {
			time.Sleep(time.Second)
			for range 20 {
				if _, err := farIs.Write([]byte("\x00\x01x")); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			go func() {
				for range 20 {
					_, _ = is.Receive()
				}
			}()
			synctest.Wait()
			rates()
		}
		time.Sleep(time.Second)
		if got := rates(); got[0] != 0 || got[1] != 10 { // 20 in the last two seconds
			t.Errorf("later: %v; want 0 and 10", got)
		}
	})
}
