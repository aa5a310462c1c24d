package glogslog_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/libnet-go/libnet/glogslog"
)

func logger() *slog.Logger { return slog.New(glogslog.New(nil)) }

func TestHandlerKeepsTheRulesOfSlogtest(t *testing.T) {
	for name, opts := range map[string]*glogslog.Options{"Options.Time": {Time: true}, "default": nil} {
		t.Run(name, func(t *testing.T) {
			slogtest.Run(t, func(t *testing.T) slog.Handler {
				return &capturing{glogslog.New(opts)}
			}, func(t *testing.T) map[string]any {
				result := slogResult(t, captured)
				if opts == nil && !strings.HasSuffix(t.Name(), "/zero-time") {
					result[slog.TimeKey] = "glog's header has one, whatever the record says"
				}
				return result
			})
		})
	}
}

// captured is what the handler under slogtest wrote last: slogtest.Run runs one test at a time.
var captured string

// capturing captures one record.
type capturing struct{ slog.Handler }

func (c *capturing) Handle(ctx context.Context, r slog.Record) (err error) {
	captured = capture(func() { err = c.Handler.Handle(ctx, r) })
	return err
}

func (c *capturing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &capturing{c.Handler.WithAttrs(attrs)}
}

func (c *capturing) WithGroup(name string) slog.Handler {
	return &capturing{c.Handler.WithGroup(name)}
}

// slogResult makes of a line what slogtest expects: nested groups and the level.
func slogResult(t testing.TB, output string) map[string]any {
	t.Helper()
	entries := parseLines(t, output)
	if len(entries) != 1 {
		t.Fatalf("%d lines, want one:\n%s", len(entries), output)
	}
	msg, attrs := parseText(t, entries[0].text)
	levels := map[string]string{"I": "INFO", "W": "WARN", "E": "ERROR"}
	result := map[string]any{slog.MessageKey: msg, slog.LevelKey: levels[entries[0].severity]}
	for key, value := range attrs {
		group := result
		names := strings.Split(key, ".")
		for _, name := range names[:len(names)-1] {
			if group[name] == nil {
				group[name] = make(map[string]any)
			}
			group = group[name].(map[string]any)
		}
		group[names[len(names)-1]] = value
	}
	return result
}

func TestLevelsBecomeGlogsSeverities(t *testing.T) {
	setFlag(t, "v", "9")
	for level, want := range map[slog.Level]string{
		slog.LevelDebug - 4: "I level=DEBUG-4",
		slog.LevelDebug:     "I level=DEBUG",
		slog.LevelInfo:      "I",
		slog.LevelInfo + 2:  "I level=INFO+2",
		slog.LevelWarn:      "W",
		slog.LevelError:     "E",
		slog.LevelError + 4: "E level=ERROR+4",
	} {
		got := one(t, func() { logger().Log(context.Background(), level, "m") })
		if line := got.severity + strings.TrimPrefix(got.text, "m"); line != want {
			t.Errorf("%v was written as %q, want %q", level, line, want)
		}
	}
}

func TestDebugIsEnabledByVerbosity(t *testing.T) {
	for _, test := range []struct {
		v       string
		level   slog.Level
		enabled bool
	}{
		{"0", slog.LevelInfo, true},
		{"0", slog.LevelInfo - 1, false},
		{"0", slog.LevelDebug, false},
		{"1", slog.LevelInfo - 1, true},
		{"1", slog.LevelDebug, true},
		{"1", slog.LevelDebug - 1, false},
		{"2", slog.LevelDebug - 4, true},
		{"2", slog.LevelDebug - 5, false},
		{"2", math.MinInt, false},
		{"2", math.MinInt / 2, false},
	} {
		setFlag(t, "v", test.v)
		if got := logger().Enabled(context.Background(), test.level); got != test.enabled {
			t.Errorf("-v=%s: %v enabled is %v", test.v, test.level, got)
		}
	}
}

func TestDebugIsEnabledByTheModuleThatCallsSlog(t *testing.T) {
	debugs := func() int {
		return len(parseLines(t, capture(func() {
			logger().Debug("directly")
			slog.New(passing{passing{glogslog.New(nil)}}).Debug("through other handlers")
		})))
	}
	for modules, want := range map[string]int{
		"handler_test=1": 2, // this file
		"handler=1":      0, // a file on the way
		"logger=1":       0, // one of slog's
		"handler_test=0": 0,
	} {
		setFlag(t, "vmodule", modules)
		if got := debugs(); got != want {
			t.Errorf("-vmodule=%s: %d lines, want %d", modules, got, want)
		}
	}
	setFlag(t, "vmodule", "other=1")
	setFlag(t, "v", "1")
	if got := debugs(); got != 2 {
		t.Errorf("-v=1 and a -vmodule for another file: %d lines, want 2", got)
	}
}

// passing is a handler between slog and ours.
type passing struct{ slog.Handler }

func (p passing) Handle(ctx context.Context, r slog.Record) error { return p.Handler.Handle(ctx, r) }
func (p passing) Enabled(ctx context.Context, level slog.Level) bool {
	return p.Handler.Enabled(ctx, level)
}

func TestTheLineIsOfTheCallToSlog(t *testing.T) {
	ctx := context.Background()
	for name, call := range map[string]func() (want string){
		"Info":            func() string { logger().Info("m"); return here(0) },
		"LogAttrs":        func() string { logger().LogAttrs(ctx, slog.LevelInfo, "m"); return here(0) },
		"With, WithGroup": func() string { logger().With("a", 1).WithGroup("g").Info("m"); return here(0) },
		"other handlers":  func() string { slog.New(passing{passing{glogslog.New(nil)}}).Info("m"); return here(0) },
		"a deferred call": func() string { defer logger().Info("m"); return here(0) },
		"an own function that passes its caller on": func() string { logForCaller("m"); return here(0) },
		"a deep stack": func() (want string) {
			descend(200, func() { logger().Info("m"); want = here(0) })
			return want
		},
		"the default logger": func() string {
			before := slog.Default()
			defer slog.SetDefault(before)
			slog.SetDefault(logger())
			slog.Warn("m")
			return here(-1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want string
			if got := one(t, func() { want = call() }); got.source != want || got.text[:1] != "m" {
				t.Errorf("the line says %s and %q, want %s", got.source, got.text, want)
			}
		})
	}
}

// logForCaller is how slog's documentation wraps a handler.
func logForCaller(msg string) {
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	logger().Handler().Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelInfo, msg, pcs[0]))
}

func descend(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	descend(n-1, f)
}

func TestARecordOfAnotherGoroutineNamesItsSourceInAnAttribute(t *testing.T) {
	records := make(chan slog.Record, 1)
	slog.New(sending{records: records}).Info("m")
	want := here(-1)
	got := one(t, func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			glogslog.New(nil).Handle(context.Background(), <-records)
		}()
		<-done
	})
	if got.source != "???:1" || got.text != "m source="+want {
		t.Errorf("got %s and %q, want no line in the header and source=%s", got.source, got.text, want)
	}
}

// sending is a handler that leaves the work to another goroutine.
type sending struct {
	slog.Handler
	records chan<- slog.Record
}

func (sending) Enabled(context.Context, slog.Level) bool { return true }
func (s sending) Handle(_ context.Context, r slog.Record) error {
	s.records <- r.Clone()
	return nil
}

func TestARecordWithoutASourceHasNone(t *testing.T) {
	got := one(t, func() {
		glogslog.New(nil).Handle(context.Background(), slog.NewRecord(time.Time{}, slog.LevelInfo, "m", 0))
	})
	if got.source != "???:1" || got.text != "m" {
		t.Errorf("got %s and %q", got.source, got.text)
	}
}

func TestOptionsTimeWritesTheRecordsOwnTime(t *testing.T) {
	when := time.Date(2017, 5, 4, 3, 2, 1, 123456789, time.FixedZone("", 3600))
	got := one(t, func() {
		h := glogslog.New(&glogslog.Options{Time: true})
		h.Handle(context.Background(), slog.NewRecord(when, slog.LevelInfo, "m", 0))
	})
	if want := "m time=2017-05-04T03:02:01.123456789+01:00"; got.text != want {
		t.Errorf("got %q, want %q", got.text, want)
	}
}

type (
	failingText    struct{}
	panickingError struct{}
	text           string
)

func (failingText) MarshalText() ([]byte, error) { return nil, errors.New("no text") }
func (*panickingError) Error() string            { panic("no error") }
func (s text) MarshalText() ([]byte, error)      { return []byte("<" + s + ">"), nil }

func TestValuesAreWrittenOnOneLineAndCannotBeTakenForOthers(t *testing.T) {
	var nilError *panickingError
	when := time.Date(2017, 5, 4, 3, 2, 1, 0, time.UTC)
	for want, value := range map[string]any{
		"v=text":                 "text",
		`v=""`:                   "",
		`v="two words"`:          "two words",
		`v="a=b"`:                "a=b",
		`v="say \"hi\""`:         `say "hi"`,
		`v="two\nlines"`:         "two\nlines",
		`v="\x1b[31mred"`:        "\x1b[31mred",
		`v="\xff"`:               "\xff",
		`v="\u202egnp.exe"`:      "\u202egnp.exe",
		"v=größe":                "größe",
		"v=-7":                   -7,
		"v=7":                    uint64(7),
		"v=true":                 true,
		"v=1.5s":                 1500 * time.Millisecond,
		"v=2017-05-04T03:02:01Z": when,
		"v=bytes":                []byte("bytes"),
		"v=EOF":                  errors.New("EOF"),
		"v=<text>":               text("text"),
		`v="!ERROR: no text"`:    failingText{},
		`v="!PANIC: no error"`:   &panickingError{},
		`v="!PANIC: a glogslog_test.panickingValue"`: panickingValue{},
		"v=<nil>":       nil,
		"v={A:1}":       struct{ A int }{1},
		"v.a=1 v.b.c=2": slog.GroupValue(slog.Int("a", 1), slog.Group("b", "c", 2)),
		"":              slog.GroupValue(),
		"v.a=1":         slog.GroupValue(slog.Group("", "a", 1), slog.Attr{}),
	} {
		got := one(t, func() { logger().Info("m", "v", value) }).text
		if got != strings.TrimSpace("m "+want) {
			t.Errorf("%#v was written as %q, want %q", value, got, "m "+want)
		}
	}
	if got := one(t, func() { logger().Info("m", "v", nilError) }).text; got != "m v=<nil>" {
		t.Errorf("a nil error was written as %q", got)
	}
}

func TestGroupsAndAttributesKeepTheOrderOfTheirCalls(t *testing.T) {
	got := one(t, func() {
		base := logger().With("a", 1)
		group := base.WithGroup("g").With("b", 2)
		base.With("not", "ours")
		group.WithGroup("not ours")
		group.WithGroup("h").Info("m", "c", 3, slog.Group("i", "d", 4))
	})
	if want := "m a=1 g.b=2 g.h.c=3 g.h.i.d=4"; got.text != want {
		t.Errorf("got %q, want %q", got.text, want)
	}
}

// FuzzLine: whatever a message, a key and a value are made of, they make one line, and come back from it.
func FuzzLine(f *testing.F) {
	f.Add("session closed", "reason", "peer reset the connection")
	f.Add("", "", "")
	f.Add("forged\nE0102 15:04:05.000000 1 main.go:1] line", "a=b c", "\x1b[2J\u2028")
	f.Add("id=7 forged", "group.key", `"quoted" \`)
	f.Add(" spaces ", " key ", " value ")
	f.Add("`m`", "``", "'v'")
	f.Fuzz(func(t *testing.T, msg, key, value string) {
		if len(msg)+len(key)+len(value) > 2000 {
			t.Skip("glog cuts lines of 15,000 bytes, and a quoted byte is up to ten")
		}
		entry := one(t, func() { logger().Info(msg, slog.String(key, value)) })
		gotMsg, attrs := parseText(t, entry.text)
		got, found := attrs[key]
		if gotMsg != msg || got != value || !found || len(attrs) != 1 {
			t.Fatalf("%q, %q=%q came back as %q, %q:\n%s", msg, key, value, gotMsg, attrs, entry.text)
		}
	})
}

// A panickingValue panics with itself, also where it is to be printed.
type panickingValue struct{}

func (v panickingValue) Error() string { panic(v) }
