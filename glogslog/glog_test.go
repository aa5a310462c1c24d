package glogslog_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// What glog's own flag package does at the start of a program is done here by hand: go test owns the
// command line.
func TestMain(m *testing.M) {
	if err := flag.Set("logtostderr", "true"); err != nil {
		panic(err)
	}
	libnettest.VerifyMain(m)
}

// setFlag sets one of glog's flags for a test.
func setFlag(t testing.TB, name, value string) {
	t.Helper()
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flag.Set(name, before) })
}

// capture returns what f makes glog write. Glog asks for os.Stderr at each line.
func capture(f func()) string {
	file, err := os.CreateTemp("", "glogslog")
	if err != nil {
		panic(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	stderr := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = stderr }()
	f()
	text, err := os.ReadFile(file.Name())
	if err != nil {
		panic(err)
	}
	return string(text)
}

// An entry is a line of glog's, taken apart.
type entry struct {
	severity string // I, W, E or F
	source   string // file:line
	text     string
}

var header = regexp.MustCompile(`(?m)^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ ([^ :]+:\d+)\] (.*)$`)

func parseLines(t testing.TB, output string) (entries []entry) {
	t.Helper()
	for line := range strings.Lines(output) {
		m := header.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			t.Fatalf("not a line of glog's: %q", line)
		}
		entries = append(entries, entry{m[1], m[2], m[3]})
	}
	return entries
}

// one is capture for a single line.
func one(t testing.TB, f func()) entry {
	t.Helper()
	output := capture(f)
	entries := parseLines(t, output)
	if len(entries) != 1 {
		t.Fatalf("%d lines, want one:\n%s", len(entries), output)
	}
	return entries[0]
}

// parseText reads a line back: its message, and its attributes with their whole keys.
func parseText(t testing.TB, text string) (msg string, attrs map[string]string) {
	t.Helper()
	attrs = make(map[string]string)
	if strings.HasPrefix(text, `"`) {
		msg, text = token(t, text, "")
	} else if equals := strings.IndexByte(text, '='); equals < 0 {
		return text, attrs
	} else { // the key in front of the first = has no space in it, unless it is quoted
		end := strings.LastIndexByte(text[:equals], ' ')
		if quote := strings.IndexByte(text[:equals], '"'); quote >= 0 {
			end = quote - 1
		}
		msg, text = text[:end], text[end:]
	}
	for text != "" {
		if text[0] != ' ' {
			t.Fatalf("no space before %q", text)
		}
		var key, value string
		key, text = token(t, text[1:], "=")
		if !strings.HasPrefix(text, "=") {
			t.Fatalf("no value behind %q", key)
		}
		value, text = token(t, text[1:], " ")
		attrs[key] = value
	}
	return msg, attrs
}

// token cuts a quoted string, or what comes before one of end, from text.
func token(t testing.TB, text, end string) (value, rest string) {
	t.Helper()
	if strings.HasPrefix(text, `"`) { // other quotes, which strconv knows too, stand for themselves
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		return value, text[len(quoted):]
	}
	i := strings.IndexAny(text, end)
	if i < 0 {
		i = len(text)
	}
	return text[:i], text[i:]
}

// here returns the caller's file:line, shifted by some lines.
func here(lines int) string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", filepath.Base(file), line+lines)
}
