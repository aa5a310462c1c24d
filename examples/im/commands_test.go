package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

func TestThePartsRunAsProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	gateway := start(t, with("gateway", etcd, []string{"-page", "127.0.0.1:0"})...)
	address := gateway.sees(`gateway: clients at (\S+), 0 access servers`)
	page := gateway.sees(`the page is at (\S+)`)
	first := start(t, with("access", etcd, nats, key, []string{"-id", "first"})...)
	first.sees(`access server first: clients at \S+, browsers at ws`)

	login := func(user string) *command {
		t.Helper()
		token, err := output(t, with("token", key, []string{"-user", user})...)
		if err != nil {
			t.Fatal(err)
		}
		c := start(t, "client", "-gateway", address, "-user", user, "-token", strings.TrimSpace(token))
		c.sees(`connected to`)
		c.sees(`A line is one of these`)
		return c
	}
	one, two := login("1"), login("2")
	one.say("2 hello, \x1b[31mred\x1b[0m")
	one.sees(`\(stored\)`)
	two.sees(`1: hello, \\x1b\[31mred`) // and not in red
	two.say("#7 is anybody here?")
	two.sees(`\(stored\)`)
	one.say("#7 I am")
	two.sees(`1 in #7: I am`)
	one.say("?2")
	one.sees(`user 2 is online, at first`)
	one.say("?3")
	one.sees(`user 3 is offline`)
	one.say("what?")
	one.sees(`not understood`)

	response, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), "<title>") {
		t.Errorf("the page: %v\n%s", err, body)
	}
	http.DefaultClient.CloseIdleConnections()

	// Another server comes, the first one is stopped as a service is: its users go on at the other.
	start(t, with("access", etcd, nats, key, []string{"-id", "second"})...).sees(`access server second`)
	first.cancel()
	if err := first.wait(); err != nil {
		t.Errorf("the access server ended with %v", err)
	}
	first.sees(`access server first: draining 2 sessions`)
	one.sees(`not connected`)
	one.say("2 still there?")
	two.sees(`1: still there\?`)
	two.say("?1")
	two.sees(`user 1 is online, at second`)

	one.stdin.Close()
	if err := one.wait(); err != nil {
		t.Errorf("at the end of its input the client ended with %v", err)
	}
	gateway.cancel()
	if err := gateway.wait(); err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
}

func TestAllStartsEverythingAndSaysWhere(t *testing.T) {
	t.Parallel()
	all := start(t)
	all.sees(`Ready after`)
	text := all.sees(`(?s)(Ready.*-demo\n)`)
	for _, what := range []string{"page     http://127.0.0.1:", "gateway  127.0.0.1:", "access-1 127.0.0.1:", "access-2 127.0.0.1:", "etcd     127.0.0.1:", "nats     nats://127.0.0.1:"} {
		if !strings.Contains(text, what) {
			t.Errorf("no %q in\n%s", what, text)
		}
	}

	// What it says can be typed in other terminals does what it says.
	typed := func(line string) []string {
		t.Helper()
		return strings.Fields(all.sees(`go run ./examples/im (` + line + `.*)`))
	}
	one, two := start(t, typed("client .* -user 1 ")...), start(t, typed("client .* -user 2 ")...)
	one.sees(`A line is`)
	two.sees(`A line is`)
	one.say("2 hello")
	two.sees(`1: hello`)
	another := start(t, typed("access ")...)
	another.sees(`access server access-\w+: clients at`)
	if token, err := output(t, typed("token ")...); err != nil || !strings.HasPrefix(token, "3.") {
		t.Errorf("token: %q, %v", token, err)
	}

	folder := filepath.Dir(typed("token ")[2])
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
	for _, ends := range []*command{another, all} {
		ends.cancel()
		if err := ends.wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its temporary folder is left: %v", err)
	}
}

func TestAClientWithAWrongTokenEndsWithTheReason(t *testing.T) {
	t.Parallel()
	all := start(t, "-servers", "1", "-page", "")
	gateway := all.sees(`gateway  (\S+)`)
	c := start(t, "client", "-gateway", gateway, "-user", "1", "-token", "let me in")
	wantError(t, c.wait(), "not logged in", "calc token failed")
}

func TestALoginElsewhereEndsTheClient(t *testing.T) {
	t.Parallel()
	all := start(t, "-servers", "1", "-page", "")
	login := strings.Fields(all.sees(`im (client .* -user 1 .*)`))
	first := start(t, login...)
	first.sees(`A line is`)
	start(t, login...).sees(`A line is`)
	wantError(t, first.wait(), "elsewhere")
}

func TestEnginesThatDoNotAnswerAreNamed(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	none := []string{"127.0.0.1:1"}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a gateway without etcd":        {with("gateway", []string{"-etcd"}, none), "etcd at 127.0.0.1:1 does not answer"},
		"an access server without it":   {with("access", nats, key, []string{"-etcd"}, none), "etcd at 127.0.0.1:1 does not answer"},
		"an access server with no NATS": {with("access", etcd, key, []string{"-nats"}, none), "NATS at 127.0.0.1:1 does not answer"},
		"a client without its gateway":  {with("client", []string{"-user", "1", "-token", "x", "-gateway"}, none), "not logged in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // instead of startTimeout
			defer cancel()
			began := time.Now()
			err := run(ctx, test.args, std{strings.NewReader(""), newScreen(), newScreen()})
			wantError(t, err, test.want)
			if took := time.Since(began); took > startTimeout {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestAPasswordInAnAddressIsNotPrintedInAnError(t *testing.T) {
	t.Parallel()
	etcd, _, key := engines(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // instead of startTimeout
	defer cancel()
	log := newScreen()
	args := with("access", etcd, key, []string{"-v", "-nats", "nats://im:hush@127.0.0.1:1,nats://hush@127.0.0.1:2"})
	err := run(ctx, args, std{strings.NewReader(""), newScreen(), log})
	wantError(t, err, "127.0.0.1:1", "127.0.0.1:2", "does not answer")
	if said := err.Error() + log.String(); strings.Contains(said, "hush") {
		t.Errorf("it says the password: %s", said)
	}
}

func TestAnAccessServerWaitsForANATSThatComesLater(t *testing.T) {
	t.Parallel()
	etcd, nats, key, engine := laterNATS(t)
	access := start(t, with("access", etcd, nats, key, []string{"-id", "early"})...)
	access.complains(`NATS does not answer, waiting for it`)
	if err := engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	access.sees(`access server early: clients at`)
}

func TestWhatIsMissingOrWrongInTheArgumentsIsSaid(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("not hex"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"serve":                   `no command "serve"`,
		"gateway":                 "needs -etcd",
		"gateway -etcd x extra":   `what is "extra"?`,
		"gateway -etcd x -ops :0": "-ops-password-file",
		"gateway -wrong":          "not defined: -wrong; options are listed by im gateway -help",
		"access":                  "needs -etcd and -nats",
		"access -etcd x":          "needs -etcd and -nats",
		"access -etcd x -nats y":  "-key-file is missing",
		"access -etcd x -nats y -key-file " + garbage: "does not hold a key in hex",
		"client":                              "needs -gateway, -user and -token",
		"client -gateway x -user -1 -token y": "needs -gateway, -user and -token",
		"client -user abc":                    `invalid value "abc"`,
		"token":                               "-user is missing",
		"token -user 1":                       "-key-file is missing",
		"token -user 1 -for -5s":              "would have ended already",
		"all -servers 0":                      "it takes at least one",
		"all -servers 1000000":                "at most 100",
		"-servers x":                          `invalid value "x"`,
		"-demo -etcd x":                       "of its own",
		"-listen 127.0.0.1:x":                 "gateway",
		"-listen 127.0.0.1:0 -page 127.0.0.1:x -servers 1": "unknown port",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			stdout, err := output(t, strings.Fields(line)...)
			wantError(t, err, want)
			if stdout != "" {
				t.Errorf("it wrote %q", stdout)
			}
		})
	}
}

func TestHelpListsCommandsAndOptions(t *testing.T) {
	t.Parallel()
	for command, want := range map[string][]string{
		"":        {"im gateway", "im access", "im client", "im token", "-demo"},
		"gateway": {"-etcd", "-page"},
		"access":  {"-etcd", "-nats", "-key-file", "-advertise"},
		"client":  {"-gateway", "-token"},
		"token":   {"-key-file", "-for"},
	} {
		stdout, err := output(t, strings.Fields(command+" -help")...)
		if !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s -help: %v", command, err)
		}
		for _, part := range want {
			if !strings.Contains(stdout, part) {
				t.Errorf("%s -help says nothing of %s:\n%s", command, part, stdout)
			}
		}
	}
}

func TestAnAccessServerThatNobodyCouldDialDoesNotStart(t *testing.T) {
	t.Parallel()
	key := newKeyFile(t)
	for line, want := range map[string]string{
		"-listen :7000":                   ":7000 means all addresses of this machine: say with -advertise ",
		"-listen [::]:7000":               "-advertise ",
		"-listen-websocket 0.0.0.0:7001":  "say with -advertise-websocket ",
		"-listen nowhere":                 "missing port",
		"-advertise im.example.com":       "-advertise: address im.example.com: missing port",
		"-advertise im.example.com:0":     "is nothing to dial",
		"-advertise im.example.com:70000": "is nothing to dial",
		"-advertise 0.0.0.0:7000":         "is nothing to dial",
		"-advertise-websocket http://a/":  "a URL such as wss://",
		"-advertise-websocket ws:///ws":   "a URL such as wss://",
		"-origins im.example.com[":        "syntax error in pattern",
		"-capacity 0":                     "-capacity 0: it takes at least one session",
		"-capacity -5":                    "-capacity -5: ",
		"-login-timeout -1s":              "-login-timeout -1s: ",
		"-replicas -1":                    "-replicas -1: NATS has from 1 to 5",
		"-replicas 7":                     "-replicas 7: ",
		"-store-age 1ms":                  "-store-age 1ms: ",
		"-listen :x -advertise a.com:700": "unknown port",
	} {
		etcd, nats := []string{"-etcd", "127.0.0.1:1"}, []string{"-nats", "127.0.0.1:1"}
		if strings.Contains(want, "unknown port") { // found only when it listens
			etcd, nats, _ = engines(t)
		}
		_, err := output(t, with("access", etcd, nats, []string{"-key-file", key}, strings.Fields(line))...)
		wantError(t, err, want)
	}
}

func TestClientsAreToldWhatIsAdvertised(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	gateway := start(t, with("gateway", etcd)...).sees(`clients at (\S+),`)
	start(t, with("access", etcd, nats, key, strings.Fields("-listen :0 -advertise im.example.com:7000"))...).sees(`clients at im.example.com:7000`)
	awaitPick(t, gateway, "im.example.com:7000")
}

func TestASecondAccessServerOfTheSameIDIsRefusedAndTheFirstStays(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	gateway := start(t, with("gateway", etcd)...).sees(`clients at (\S+),`)
	first := start(t, with("access", etcd, nats, key, []string{"-id", "a"})...).sees(`access server a: clients at (\S+),`)
	second := start(t, with("access", etcd, nats, key, []string{"-id", "a"})...)
	wantError(t, second.wait(), "another server has this id: a at "+first, "choose another -id")
	awaitPick(t, gateway, first)
}

// awaitPick waits until a gateway sends clients to an address.
func awaitPick(t testing.TB, gateway, want string) {
	t.Helper()
	imtest.Eventually(t, "clients are sent to "+want, func() bool {
		got, err := client.Pick(t.Context(), gateway)
		return err == nil && got == want
	})
}
