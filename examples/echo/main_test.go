package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) {
	if os.Getenv("LIBNET_ECHO_PROGRAM") != "" {
		main()
		return
	}
	libnettest.VerifyMain(m)
}

// runEcho runs the program and restores what it sets for its process.
func runEcho(t *testing.T, ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args ...string) error {
	t.Helper()
	before := slog.Default()
	defer slog.SetDefault(before)
	return run(ctx, args, stdin, stdout, stderr)
}

func TestTheStoryEndsWell(t *testing.T) {
	for _, format := range []string{"text", "json", "glog"} {
		t.Run(format, func(t *testing.T) {
			defer func(s story) { defaultStory = s }(defaultStory)
			defaultStory.length = 100 * time.Millisecond
			var stdout, stderr bytes.Buffer
			if err := runEcho(t, t.Context(), nil, &stdout, &stderr, "-log", format); err != nil {
				t.Fatalf("echo -log %s: %v\n%s", format, err, &stdout)
			}
			for _, want := range []string{
				`sessions  8\n`, `messages  [\d,]+ sent`, `rate      [\d,]+ `, `p50 [\d.]+.?s, p99 `,
				`4,294,967,295 bytes`, `frame_too_large +1\n`, `server_closed +8\n`, `sent = received = [1-9]`,
			} {
				if !regexp.MustCompile(want).Match(stdout.Bytes()) {
					t.Errorf("the output does not match %q:\n%s", want, &stdout)
				}
			}
			if format == "json" {
				var line struct{ Level, Msg, Reason string }
				if err := json.Unmarshal(stderr.Bytes(), &line); err != nil || line.Reason != "frame_too_large" {
					t.Errorf("the log is not one line of JSON about the client that was refused: %v\n%s", err, &stderr)
				}
			}
		})
	}
}

// startServer is echo -listen until end, which returns its error and what it printed in the end.
func startServer(t *testing.T) (address string, end func() (string, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := runEcho(t, ctx, nil, in, io.Discard, "-listen", "127.0.0.1:0")
		in.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("echo -listen: %v", <-ended)
	}
	fields := strings.Fields(strings.ReplaceAll(lines.Text(), ";", " "))
	return fields[2], func() (string, error) {
		cancel()
		var rest []string
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		return strings.Join(rest, "\n"), <-ended
	}
}

func TestAClientConversesWithAServer(t *testing.T) {
	address, end := startServer(t)
	var stdout bytes.Buffer
	typed := strings.NewReader("hello\n\n" + strings.Repeat("long", maxMessage) + "\nworld\n")
	if err := converse(t.Context(), address, typed, &stdout); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`connected to 127`, `  hello  \(.*s\)\n`, `    \(.*s\)\n`, `not sent: .*too large`, `  world  \(`} {
		if !regexp.MustCompile(want).Match(stdout.Bytes()) {
			t.Errorf("the output does not match %q:\n%.2000s", want, &stdout)
		}
	}
	rest, err := end()
	if err != nil || !strings.Contains(rest, "1 sessions were served, 3 messages received and 3 sent, 0 discarded") {
		t.Errorf("the server ended with %v and %q", err, rest)
	}
}

func TestAClientLearnsThatItsServerHasGone(t *testing.T) {
	address, end := startServer(t)
	stdin, keyboard := io.Pipe()
	defer keyboard.Close()
	gone := make(chan error, 1)
	connected, stdout := io.Pipe()
	defer stdout.Close()
	go func() { gone <- converse(t.Context(), address, stdin, stdout) }()
	go keyboard.Write([]byte("hello\n"))
	for output := bufio.NewScanner(connected); ; { // until the echo: a listener that closes resets what it has not accepted
		if !output.Scan() {
			t.Fatal("no echo")
		}
		if strings.HasPrefix(output.Text(), "  hello") {
			break
		}
	}
	go io.Copy(io.Discard, connected)
	if _, err := end(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-gone:
		if !errors.Is(err, io.EOF) {
			t.Errorf("the client ended with %v; want io.EOF", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the client did not notice")
	}
}

func TestWhatCannotBeDoneIsSaid(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, args := range [][]string{
		{"-log", "xml"}, {"serve"}, {"-listen", ":0", "-connect", ":1"}, {"-connect", ":1", "-monitor", "127.0.0.1:0"},
		{"-listen", "127.0.0.1:0", "-monitor", ":0"}, {"-monitor", "0.0.0.0:0"}, {"-monitor", taken.Addr().String()},
		{"-listen", taken.Addr().String()}, {"-connect", "127.0.0.1:0"},
	} {
		var stdout bytes.Buffer
		if err := runEcho(t, t.Context(), strings.NewReader(""), &stdout, io.Discard, args...); err == nil {
			t.Errorf("echo %v succeeded: %s", args, &stdout)
		}
	}
	var usage bytes.Buffer
	err = runEcho(t, t.Context(), nil, io.Discard, &usage, "-help")
	if err != flag.ErrHelp || !strings.Contains(usage.String(), "-listen address") {
		t.Errorf("echo -help: %v, %q", err, &usage)
	}
}

// The story must not end well when it did not go well.
func TestAStoryWhoseCountersDisagreeDoesNotEndWell(t *testing.T) {
	good := libnet.ServerStats{MessagesIn: 5, MessagesOut: 5, Closed: map[string]uint64{"frame_too_large": 1}}
	if err := compareCounters(io.Discard, good, summary{sent: 5, received: 5}); err != nil {
		t.Errorf("counters that agree: %v", err)
	}
	lost, discarded, open := good, good, good
	lost.MessagesOut, discarded.Discarded, open.Open = 4, 1, 1
	for _, bad := range []struct {
		stats libnet.ServerStats
		sum   summary
	}{
		{good, summary{sent: 5, received: 4}}, {good, summary{}}, {good, summary{sent: 6, received: 6}},
		{lost, summary{sent: 5, received: 5}}, {discarded, summary{sent: 5, received: 5}}, {open, summary{sent: 5, received: 5}},
	} {
		if compareCounters(io.Discard, bad.stats, bad.sum) == nil {
			t.Errorf("%+v and %+v agree", bad.stats, bad.sum)
		}
	}
}

func TestPercentilesAndDigits(t *testing.T) {
	var sum summary
	for i := range 1000 {
		sum.latencies = append(sum.latencies, time.Duration(i)*time.Millisecond)
	}
	if p50, p99 := sum.percentile(50), sum.percentile(99); p50 != 499*time.Millisecond || p99 != 989*time.Millisecond {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := digits(n); got != want {
			t.Errorf("digits(%d) = %s; want %s", n, got, want)
		}
	}
}
