package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

func TestAKeyIsMadeOnlyWhenTold(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "im.key")
	for _, line := range []string{"token -user 1 -key-file ", "key -key-file ", "access -etcd x -nats y -key-file "} {
		_, err := output(t, strings.Fields(line+file)...)
		wantError(t, err, "there is no key file at "+file, "im key -new "+file)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("a key was made by the way")
	}
	said, err := output(t, "key", "-new", file)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := output(t, "key", "-key-file", file)
	if err != nil || !strings.HasSuffix(said, "fingerprint "+fingerprint) || len(fingerprint) != 17 {
		t.Errorf("it said %q, then %q, %v", said, fingerprint, err)
	}
	_, err = output(t, "key", "-new", file)
	wantError(t, err, "is there already, and stays")
	for line, want := range map[string]string{
		"key":                                 "either -new or -key-file",
		"key -new a -key-file b":              "either -new or -key-file",
		"key -new a -replace":                 "takes the key of -key-file",
		"key -key-file " + file + " -replace": "-replace needs -etcd",
	} {
		_, err := output(t, strings.Fields(line)...)
		wantError(t, err, want)
	}
}

func TestAServerWithAnotherKeyDoesNotStart(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	start(t, with("access", etcd, nats, key, []string{"-id", "first"})...).sees(`access server first: clients at`)
	other := []string{"-key-file", newKeyFile(t)}
	_, err := output(t, with("access", etcd, nats, other, []string{"-id", "second"})...)
	wantError(t, err, "the other access servers have another key", "copy the -key-file", "im key -replace")

	if said, err := output(t, with("key", etcd, other, []string{"-replace"})...); err != nil || !strings.Contains(said, "start from now on") {
		t.Fatalf("replace: %q, %v", said, err)
	}
	start(t, with("access", etcd, nats, other, []string{"-id", "second"})...).sees(`access server second: clients at`)
	_, err = output(t, with("all", etcd, nats, key)...)
	wantError(t, err, "another key")
}

func TestOperatorsSeeHealthAndMetrics(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	access := start(t, with("access", etcd, nats, key, strings.Fields("-id a -ops 127.0.0.1:0"))...)
	gateway := start(t, with("gateway", etcd, strings.Fields("-ops 127.0.0.1:0"))...)
	for _, part := range []struct {
		*command
		want []string
	}{
		{access, []string{"\nim_registered 1\n", "\nim_nats_connected 1\n", "\nim_cut 0\n", "\nim_cluster_nodes 1\n", "\nim_cluster_degraded 0\n", "\nim_cluster_lost 0\n", "\nim_cluster_delivered_total 0\n", "\nim_logins_total 0\n", "\nlibnet_sessions"}},
		{gateway, []string{"\nim_etcd_away 0\n", "\nim_picks_failed_total 0\n", "\nlibnet_sessions"}},
	} {
		url := part.sees(`operators at (\S+)`)
		for _, path := range []string{"healthz", "readyz"} {
			imtest.Eventually(t, path, func() bool { status, _ := get(t, url+path); return status == http.StatusOK })
		}
		_, metrics := get(t, url+"metrics")
		for _, want := range part.want {
			if !strings.Contains(metrics, want) {
				t.Errorf("no %q in\n%s", want, metrics)
			}
		}
	}
	_, err := output(t, with("access", etcd, nats, key, strings.Fields("-ops 0.0.0.0:0"))...)
	wantError(t, err, "-ops 0.0.0.0:0")
}

func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	request := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: imtest.Patience}
	response, err := request.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestClientsAndServersSpeakTLS(t *testing.T) {
	t.Parallel()
	etcd, nats, key := engines(t)
	cert, certKey := imtest.Certificate(t, t.TempDir())
	secured := []string{"-tls-cert", cert, "-tls-key", certKey}
	gateway := start(t, with("gateway", etcd, secured, []string{"-page", "127.0.0.1:0"})...)
	address := gateway.sees(`gateway: clients at (\S+),`)
	gateway.sees(`the page is at https://127.0.0.1:`)
	start(t, with("access", etcd, nats, key, secured)...).sees(`browsers at wss://127.0.0.1`)

	token, err := output(t, with("token", key, []string{"-user", "1"})...)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	one := start(t, "client", "-gateway", address, "-user", "1", "-token-file", file, "-tls", "-ca", cert)
	one.sees(`connected to`)
	one.say("1 hello")
	one.sees(`1: hello`)
	_, err = output(t, "client", "-gateway", address, "-user", "1", "-token-file", file, "-ca", cert)
	wantError(t, err, "-ca is for -tls")
	_, err = output(t, with("access", etcd, nats, key, []string{"-tls-cert", cert})...)
	wantError(t, err, "-tls-cert and -tls-key", "belong together")
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	etcd, _, key := engines(t)
	server, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "im", Password: "secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	if !server.ReadyForConnections(imtest.Patience) {
		t.Fatal("NATS does not start")
	}
	nats := []string{"-nats", "nats://" + server.Addr().String()}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := start(t, with("access", etcd, nats, key, []string{"-id", "a", "-nats-user", "im", "-nats-password-file", file})...)
	a.sees(`access server a: clients at`)
	if warned := a.stderr.String(); warned != "" {
		t.Errorf("it said %s", warned)
	}
	b := start(t, with("access", etcd, []string{"-nats", "nats://im:secret@" + server.Addr().String()}, key, []string{"-id", "b"})...)
	b.complains(`everybody on this machine can read the secret in -nats: use -nats-user`)
	b.sees(`access server b: clients at`)
	_, err = output(t, with("access", etcd, nats, key)...)
	wantError(t, err, "Authorization Violation")
	for line, want := range map[string]string{
		"-nats-user im":                       "needs a password",
		"-nats-password-file " + file:         "-nats-user is missing",
		"-nats-user im -nats-creds " + file:   "it takes one",
		"-nats-creds /nowhere":                "no such file",
		"-nats-ca " + file:                    "holds no certificate",
		"-etcd-user root":                     "needs a password",
		"-etcd-password-file " + file:         "-etcd-user is missing",
		"-etcd-ca /nowhere":                   "no such file",
		"-etcd-cert " + file:                  "belong together",
		"-legacy-salt-file /nowhere":          "no such file",
		"-etcd-user root -etcd-password-file": "flag needs an argument",
	} {
		_, err := output(t, with("access", etcd, nats, key, strings.Fields(line))...)
		wantError(t, err, want)
	}
}

func TestThePageThatLetsEverybodyInIsForThisMachine(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		_, err := output(t, "-page", address)
		wantError(t, err, "for this machine only")
	}
	_, err := output(t, "-etcd", "127.0.0.1:1")
	wantError(t, err, "-key-file is missing")
}

func newKeyFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if _, err := output(t, "key", "-new", file); err != nil {
		t.Fatal(err)
	}
	return file
}
