package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/monitor"
)

// pageOf reads output until it names the monitor's page.
func pageOf(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	for lines.Scan() {
		if page, ok := strings.CutPrefix(lines.Text(), "monitor: "); ok {
			return page
		}
	}
	t.Fatal("no line names the monitor's page")
	return ""
}

func varz(t *testing.T, client *http.Client, page string) (v monitor.Varz) {
	t.Helper()
	response, err := client.Get(page + "varz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheMonitorIsUpForAsLongAsTheRun(t *testing.T) {
	defer func(s story) { defaultStory = s }(defaultStory)
	defaultStory.watched = time.Hour
	for _, args := range [][]string{{"-monitor", "127.0.0.1:0"}, {"-monitor", "127.0.0.1:0", "-listen", "127.0.0.1:0"}} {
		ctx, cancel := context.WithCancel(t.Context())
		out, in := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			err := runEcho(t, ctx, nil, in, io.Discard, args...)
			_ = in.Close()
			ended <- err
		}()
		lines := bufio.NewScanner(out)
		page := pageOf(t, lines)
		go func() { _, _ = io.Copy(io.Discard, out) }()

		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		v := varz(t, &client, page)
		for len(args) == 2 && v.MessagesIn == 0 { // the clients of the story are still coming
			v = varz(t, &client, page)
		}
		if !strings.HasPrefix(v.Listener, "tcp 127.0.0.1:") {
			t.Errorf("echo %v: %+v", args, v)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("echo %v: %v", args, err)
		}
		if _, err := client.Get(page); err == nil {
			t.Errorf("echo %v has left its monitor", args)
		}
	}
}

func TestALongStoryKeepsFewLatencies(t *testing.T) {
	c := client{each: 1}
	const messages = 10 * maxLatencies
	for i := range uint64(messages) {
		c.note(i, time.Duration(i))
	}
	for i, latency := range c.latencies {
		if want := time.Duration(uint64(i) * c.each); latency != want {
			t.Fatalf("latency %d is that of message %d; want %d", i, latency, want)
		}
	}
	if n := len(c.latencies); n > maxLatencies || n < maxLatencies/2 || uint64(n)*c.each < messages-c.each {
		t.Errorf("%d latencies, one for each %d of %d messages", n, c.each, messages)
	}
}
