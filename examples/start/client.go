package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/mux"
)

// trusting is the TLS of a client that trusts one certificate: the test's. For a certificate of an authority's an empty
// Config does.
func trusting(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots}, err
}

// converse logs in and says what is typed, until that ends, ctx does, or the server ends the session.
func converse(ctx context.Context, addr, cert string, who *login, in io.Reader, out io.Writer) error {
	secure, err := trusting(cert)
	if err != nil {
		return err
	}
	m := mux.New(mux.JSON)
	mux.On(m, "said", func(_ context.Context, _ *libnet.Session, msg *said) error {
		_, err := fmt.Fprintf(out, "%s: %s\n", msg.From, msg.Text)
		return err
	})
	d := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, m), TLSConfig: secure}
	d.SendQueue = 64
	s, err := d.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer s.Close()
	hello, err := mux.Call[login, welcome](ctx, m.Start(s), "login", who)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "welcome, there are %d here\n", hello.Members)
	if err := talk(ctx, s, in); err != nil {
		return err
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Shutdown(end) // delivers what Send took
}

// talk sends lines. Nothing interrupts a read of a terminal, so the goroutine that reads may outlive talk.
func talk(ctx context.Context, s *libnet.Session, in io.Reader) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-s.Done():
				return
			}
		}
	}()
	for {
		select {
		case text, more := <-lines:
			if !more {
				return nil
			}
			if err := s.SendContext(ctx, mux.Message{Kind: "say", Body: &say{text}}); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		case <-s.Done():
			return fmt.Errorf("the server has ended the session: %w", s.Err())
		}
	}
}
