// Start is what to copy for a program of your own: a chat with a login, over TLS for terminals and WebSocket for
// browsers, with a monitor, and tests that take no time. docs/start.md walks through it.
//
//	start                 the server; it needs cert.pem and key.pem
//	start ann secret      a terminal of ann's: what is typed is said
//
// chat.go has what the server does, main.go how it is reached, client.go the terminal, page.html the browser.
package main

import (
	"context"
	"crypto/tls"
	_ "embed"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
	"github.com/libnet-go/libnet/ws"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 3 {
		err = converse(ctx, "localhost:7000", "cert.pem", &login{os.Args[1], os.Args[2]}, os.Stdin, os.Stdout)
	} else {
		err = run(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		return fmt.Errorf("%w: make one with go run $(go env GOROOT)/src/crypto/tls/generate_cert.go -host localhost", err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{cert}}
	c := newChat("secret")
	srv, err := libnet.Serve("tcp", "localhost:7000", c.protocol(), 64) // 64 messages may wait for each client
	if err != nil {
		return err
	}
	defer srv.Stop()
	c.limit(srv)
	srv.TLSConfig = secure // of terminals; that of pages is the HTTP server's
	pages, err := net.Listen("tcp", "localhost:7443")
	if err != nil {
		return err
	}
	watch := monitor.Options{ErrorTexts: true} // they may quote what peers sent
	go func() { log.Print(watch.ListenAndServe(context.Background(), "127.0.0.1:7001", srv)) }()
	fmt.Println("terminals at localhost:7000, browsers at https://localhost:7443/, the monitor at http://127.0.0.1:7001/")
	return serve(ctx, c, srv, ws.TLSListener(pages, secure))
}

//go:embed page.html
var page []byte

// serve serves terminals at srv's listener and browsers at pages, until ctx ends; then it delivers what is queued.
func serve(ctx context.Context, c *chat, srv *libnet.Server, pages net.Listener) error {
	site := http.NewServeMux()
	site.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })
	site.Handle("/ws", ws.MessageHandler(srv, c.inside, &ws.HandlerOptions{Text: true})) // the same sessions, limits and login
	web := &http.Server{Handler: site, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := web.Serve(pages); err != http.ErrServerClosed {
			log.Print(err)
		}
	}()
	defer web.Close() // its WebSockets are srv's, which has ended them by then
	return srv.ServeUntil(ctx, 10*time.Second, func() error { return srv.ServeMessages(c.inside) })
}
