// Chat is libnet's second example: logins, rooms, whispers, and who is there; for terminals over TCP and browsers over
// WebSocket.
//
//	chat -listen localhost:7000    the server, whose page is at http://localhost:8080/
//	chat -listen localhost:7000 -upgrade
//	                               the same; SIGHUP starts the program anew, which takes over (Linux)
//	chat -as ann                   a terminal of ann's; also to be typed: /join ROOM, /who, /w NAME TEXT
//
// server.go has what the server does with messages, upgrade.go what becomes of it in a new process, client.go the
// terminal, page.html the browser, messages.go what they say to each other. Passwords cross the network as they are: a
// server for others needs a certificate (libnet.Server.TLSConfig).
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/resume"
	"github.com/libnet-go/libnet/resume/web"
	"github.com/libnet-go/libnet/ws"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// run is the program without its process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "", "serve terminals at this `address`, until Ctrl-C")
	web := flags.String("web", "localhost:8080", "and browsers at this `address`")
	connect := flags.String("connect", "localhost:7000", "the `address` of a client's server")
	name := flags.String("as", "", "the client's `name`")
	upgrade := flags.Bool("upgrade", false, "with -listen: at SIGHUP start this program again and give it the live sessions")
	password := flags.String("password", "secret", "what the server asks for, and the client says")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("what is %q? Options are listed by -help", flags.Arg(0))
	case (*listen == "") == (*name == ""):
		return errors.New("-listen makes a server, -as a client: give one of them")
	case *upgrade && *listen == "":
		return errors.New("-upgrade is for a server")
	case *listen != "":
		return serve(ctx, *listen, *web, *password, hangups(*upgrade), stdout)
	}
	return converse(ctx, *connect, &Login{*name, *password}, stdin, stdout)
}

//go:embed page.html
var page []byte

// serve is chat -listen: one server, whose sessions come over TCP and, beside the page, over WebSocket. Those of pages
// outlive their connections. At a hangup, if there is any, another process is to take over.
func serve(ctx context.Context, tcp, address, password string, hangups <-chan os.Signal, stdout io.Writer) error {
	c := &chat{password: password}
	m := c.routes()
	server, listener, err := c.listen(ctx, tcp, address, codec.New(codec.Uint32BE, m), stdout)
	if err != nil {
		return err
	}
	defer server.Stop()
	kept := &resume.Server{Handler: func(s *resume.Session) { server.ServeConn(s.NetConn(), m) }, MaxKept: 1000, MaxKeptPerIP: 50}
	defer kept.Close()
	links := libnet.NewServer(listener, codec.New(codec.Uint32BE, resume.Frames), limits.SendQueue) // what they go over
	defer links.Stop()
	links.MaxMessage, links.HandshakeTimeout = limits.MaxMessage, limits.HandshakeTimeout
	links.MaxSessions, links.MaxSessionsPerIP = server.MaxSessions, server.MaxSessionsPerIP

	site := &http.Server{Handler: pageHandler(links, kept), ReadHeaderTimeout: 10 * time.Second}
	defer site.Close()
	fmt.Fprintf(stdout, "terminals at %v, browsers at http://%v/; Ctrl-C ends it\n", server.Listener().Addr(), listener.Addr())

	ended := make(chan error, 2)
	go func() { ended <- server.ServeMessages(m) }()
	go func() { ended <- site.Serve(listener) }()
	go func() {
		<-server.Stopping() // pages that come back are for whoever comes next
		site.Close()
	}()
	for {
		select {
		case err := <-ended: // a listener broke
			return err
		case <-hangups:
			if startNext(ctx, server, listener, stdout) {
				return nil
			}
		case <-ctx.Done():
			drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return server.Shutdown(drain) // delivers what was said, and says what it could not
		}
	}
}

// pageHandler serves the page, its script, and its connections.
func pageHandler(links *libnet.Server, kept *resume.Server) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })
	m.Handle("GET /resume.js", web.Handler())
	m.Handle("/ws", ws.MessageHandler(links, kept, nil))
	return m
}

// limit says how much anybody may have of a server.
func limit(server *libnet.Server) {
	server.Config, server.MaxSessionsPerIP = limits, 50
	server.MaxSessions = 1000 // so the names of all of them fit into one message
}
