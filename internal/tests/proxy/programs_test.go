package proxy

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// program finds a proxy. With CI set it must be there.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no %s: see CONTRIBUTING", name)
	}
	t.Skip("no " + name)
	return ""
}

// A running is a proxy, a process of its own.
type running struct {
	address string // where it listens, with a socket that was made for it: nobody else can take its port
	output  bytes.Buffer
}

// run starts a program that takes its listener as descriptor 3, with a configuration.
func run(t *testing.T, config func(address, dir string) string, command func(file string) *exec.Cmd) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	p := &running{address: listener.Addr().String()}
	dir := t.TempDir()
	file := filepath.Join(dir, "configuration")
	if err := os.WriteFile(file, []byte(config(p.address, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(file)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(testkit.Patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("the proxy says:\n%s", p.output.String())
		}
	})
	return p
}

// connect is a client's connection to the proxy.
func (p *running) connect(t *testing.T, secure, web bool) client {
	t.Helper()
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
	c, err := enter(conn, secure, web)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// certificate writes that of the tests, with its key, to a file.
func certificate(dir string) string {
	own := testkit.Certificate()
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		panic(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	file := filepath.Join(dir, "certificate.pem")
	if err := os.WriteFile(file, both, 0o600); err != nil {
		panic(err)
	}
	return file
}

func startHAProxy(t *testing.T, server net.Addr, tls bool, options string) *running {
	path := program(t, "haproxy")
	return run(t, func(_, dir string) string {
		bind := "fd@3"
		if tls {
			bind += " ssl crt " + certificate(dir)
		}
		to := server.String()
		if server.Network() == "unix" {
			to = "unix@" + to
		}
		return fmt.Sprintf(`
defaults
	mode tcp
	retries 0
	timeout connect 5s
	timeout client 1m
	timeout server 1m
listen libnet
	bind %s
	server libnet %s %s
`, bind, to, options)
	}, haproxy(path))
}

func haproxy(path string) func(file string) *exec.Cmd {
	return func(file string) *exec.Cmd { return exec.Command(path, "-db", "-q", "-f", file) }
}

func startNginx(t *testing.T, server net.Addr, tls bool, options string) *running {
	path := nginxWithStreams(t)
	return run(t, func(address, dir string) string {
		listen := address
		if tls {
			listen += " ssl;\n\t\tssl_certificate " + certificate(dir) + ";\n\t\tssl_certificate_key " + certificate(dir)
		}
		to := server.String()
		if server.Network() == "unix" {
			to = "unix:" + to
		}
		return nginxHead(dir) + fmt.Sprintf(`
stream {
	server {
		listen %s;
		proxy_pass %s;
		proxy_protocol on;
		%s
	}
}
`, listen, to, options)
	}, nginx(path))
}

const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

func nginxWithStreams(t *testing.T) (path string) {
	t.Helper()
	path = program(t, "nginx")
	if _, err := os.Stat(streamModule); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("nginx has no stream module: see CONTRIBUTING")
		}
		t.Skip("nginx has no stream module")
	}
	return path
}

// nginxHead is what each configuration begins with. The user is whose the sockets of the tests may be.
func nginxHead(dir string) string {
	return fmt.Sprintf(`
load_module %s;
daemon off;
user root;
worker_processes 1;
pid %s/pid;
error_log stderr;
events { worker_connections 1000; }
`, streamModule, dir)
}

func nginx(path string) func(file string) *exec.Cmd {
	return func(file string) *exec.Cmd {
		cmd := exec.Command(path, "-c", file, "-p", filepath.Dir(file), "-e", "stderr")
		cmd.Env = append(os.Environ(), "NGINX=3;") // how it hands its sockets to its successor
		return cmd
	}
}

// proxies are programs, and how they pass on a connection.
var proxies = []struct {
	name    string
	start   func(t *testing.T, server net.Addr, tls bool, options string) *running
	ends    bool // TLS ends there
	begins  bool // TLS begins there: it must be a server with TLS
	options string
}{
	{"haproxy send-proxy", startHAProxy, false, false, "send-proxy"},
	{"haproxy send-proxy-v2", startHAProxy, false, false, "send-proxy-v2"},
	{"haproxy send-proxy-v2 with options", startHAProxy, false, false, "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,cert-cn"},
	{"haproxy send-proxy-v2-ssl, behind TLS of its own", startHAProxy, true, false, "send-proxy-v2-ssl"},
	{"haproxy send-proxy-v2-ssl-cn, with TLS on both sides", startHAProxy, true, true, "send-proxy-v2-ssl-cn ssl verify none"},
	{"haproxy send-proxy, with TLS to the server", startHAProxy, false, true, "send-proxy ssl verify none"},
	{"nginx", startNginx, false, false, ""},
	{"nginx behind TLS of its own", startNginx, true, false, ""},
	{"nginx with TLS to the server", startNginx, false, true, "proxy_ssl on;"},
	{"nginx with TLS on both sides", startNginx, true, true, "proxy_ssl on;"},
}

func TestBehindARealProxyTheClientsAddressIsTheSessions(t *testing.T) {
	testkit.Slow(t)
	libnettest.VerifyNone(t)
	for _, p := range proxies {
		for _, w := range ways {
			if p.begins && !w.secure || p.ends && !p.begins && w.secure || w.serves("Accept") {
				continue
			}
			t.Run(p.name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				r := w.start(t, func(srv *libnet.Server) { srv.MaxSessionsPerIP = 2 })
				proxy := p.start(t, r.Listener().Addr(), p.ends, p.options)
				for range 2 {
					c := proxy.connect(t, p.ends || w.secure && !p.begins, w.web)
					c.ask(t, own(c.Conn))
					c.ask(t, own(c.Conn))
				}
				third, _ := net.Dial("tcp", proxy.address)
				defer third.Close()
				c, err := enter(third, p.ends || w.secure && !p.begins, w.web)
				if err == nil {
					_, _ = c.Write(c.frame("hello"))
					_, err = c.read()
				}
				if err == nil {
					t.Error("the third client of one address is served")
				}
				// A handshake that fails haproxy tries again.
				testkit.Eventually(t, "the third's end", func() bool { return r.Stats().Rejected >= 1 && r.Stats().Open == 2 })
			})
		}
	}
}

// Checks say LOCAL, or nothing at all, and are no clients.
func TestHAProxysChecksAreSessionsOfItsOwn(t *testing.T) {
	for _, check := range []string{"send-proxy-v2 check inter 20ms", "send-proxy-v2 proxy-v2-options crc32c check check-send-proxy inter 20ms", "send-proxy check inter 20ms"} {
		t.Run(check, func(t *testing.T) {
			libnettest.VerifyNone(t)
			w := way{network: "tcp", serve: (*libnet.Server).ServeMessages}
			r := w.start(t, func(srv *libnet.Server) { srv.MaxSessionsPerIP = 1 })
			proxy := startHAProxy(t, r.Listener().Addr(), false, check)
			c := proxy.connect(t, false, false)
			c.ask(t, own(c.Conn))
			testkit.Eventually(t, "some checks", func() bool { return r.Stats().Accepted > 5 })
			for _, closed := range r.LastClosed() {
				if name := libnet.CloseReason(closed.Err); name != "eof" && name != "reset" {
					t.Errorf("a check ended with %v", closed.Err)
				}
				if host := closed.RemoteAddr.String(); !strings.HasPrefix(host, "127.0.0.1:") {
					t.Errorf("a check came from %s", host)
				}
			}
			if rejected := r.Stats().Rejected; rejected != 0 {
				t.Errorf("%d were rejected", rejected)
			}
			c.ask(t, own(c.Conn))
		})
	}
}

// snippet returns the first block of a language in docs/operations.md.
func snippet(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, behind, found := strings.Cut(string(text), "```"+language+"\n")
	block, _, ended := strings.Cut(behind, "```")
	if !found || !ended {
		t.Fatalf("docs/operations.md has no block of %s", language)
	}
	return block
}

// What docs/operations.md has to paste, with the addresses of the test.
func TestTheConfigurationsOfTheDocumentWork(t *testing.T) {
	libnettest.VerifyNone(t)
	const port, server = "9000", "10.0.1.1:9000"
	starts := map[string]func(t *testing.T, to string) *running{
		"haproxy": func(t *testing.T, to string) *running {
			path := program(t, "haproxy")
			return run(t, func(string, string) string {
				return strings.NewReplacer(server, to, ":"+port, "fd@3").Replace(snippet(t, "haproxy"))
			}, haproxy(path))
		},
		"nginx": func(t *testing.T, to string) *running {
			path := nginxWithStreams(t)
			return run(t, func(address, dir string) string {
				return nginxHead(dir) + strings.NewReplacer(server, to, port, address).Replace(snippet(t, "nginx"))
			}, nginx(path))
		},
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			w := way{network: "tcp", serve: (*libnet.Server).ServeMessages}
			r := w.start(t, func(srv *libnet.Server) { srv.MaxSessionsPerIP = 1 })
			c := start(t, r.Listener().Addr().String()).connect(t, false, false)
			c.ask(t, own(c.Conn))
		})
	}
}
