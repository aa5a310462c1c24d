package wstest

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

func TestOpenSSLIsUnderstoodInEventMode(t *testing.T) {
	openssl := program(t, "openssl")
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			srv := serve(t, codec.New(codec.Lines, codec.Bytes), mode{event: true, config: serverTLS(t)})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			client := exec.CommandContext(ctx, openssl, "s_client", "-connect", srv.Listener().Addr().String(), version, "-quiet", "-no_ign_eof")
			in, out := pipes(t, client)
			say := func(line string) {
				if _, err := io.WriteString(in, line+"\n"); err != nil {
					t.Fatal(err)
				}
			}
			for _, line := range []string{"hello", "again", strings.Repeat("long ", 1000)} {
				say(line)
				if got, err := out.ReadString('\n'); err != nil || got != line+"\n" {
					t.Fatalf("%q, %v; want %q", got, err, line)
				}
			}
			in.Close() // s_client sends close_notify, and waits for ours
			if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil {
				t.Errorf("%q, %v behind the last message", rest, err)
			}
			if err := client.Wait(); err != nil {
				t.Error(err)
			}
			wantOneOrderlyEnd(t, srv)
		})
	}
}

func TestOpenSSLsKeyUpdateIsAnsweredInEventMode(t *testing.T) {
	openssl := program(t, "openssl")
	srv := serve(t, codec.New(codec.Lines, codec.Bytes), mode{event: true, config: serverTLS(t)})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := exec.CommandContext(ctx, openssl, "s_client", "-connect", srv.Listener().Addr().String(), "-tls1_3")
	in, out := pipes(t, client)
	await := func(want string) {
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				t.Fatalf("%v before %q", err, want)
			}
			if strings.TrimSpace(line) == want {
				return
			}
		}
	}
	for _, command := range []string{"first", "K", "second", "K", "k", "third", "Q"} { // K asks for an update of ours, too
		if _, err := io.WriteString(in, command+"\n"); err != nil {
			t.Fatal(err)
		}
		switch command {
		case "K", "k":
			await("KEYUPDATE")
		case "Q":
		default:
			await(command)
		}
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := client.Wait(); err != nil {
		t.Error(err)
	}
	wantOneOrderlyEnd(t, srv)
}

// pipes starts a client. What it says of certificates on its error output is dropped, unless it is to say what it does.
func pipes(t testing.TB, client *exec.Cmd) (io.WriteCloser, *bufio.Reader) {
	t.Helper()
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(client.Args, "-quiet") {
		client.Stderr = client.Stdout
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	return in, bufio.NewReader(out)
}

func wantOneOrderlyEnd(t testing.TB, srv *libnet.Server) {
	t.Helper()
	awaitNone(t, srv)
	if closed := srv.Stats().Closed; len(closed) != 1 || closed["eof"] != 1 {
		t.Errorf("ended with %v, want one end of file", closed)
	}
}
