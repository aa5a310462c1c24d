package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/libnet-go/libnet"
)

// converse is echo -connect. Each line from stdin is sent, and the answer printed.
func converse(ctx context.Context, address string, stdin io.Reader, stdout io.Writer) error {
	dialer := libnet.Dialer{Protocol: protocol}
	dialer.NetDialer.Timeout = 10 * time.Second
	session, err := dialer.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer session.Close()
	fmt.Fprintf(stdout, "connected to %v; type a line, or Ctrl-D to end\n", session.RemoteAddr())

	answers := make(chan []byte)
	go receive(session, answers)
	lines := make(chan string)
	go readLines(stdin, lines, session.Done())
	for {
		select {
		case line, more := <-lines:
			if !more {
				return nil
			}
			if err := ask(session, line, answers, stdout); err != nil {
				return err
			}
		case <-session.Done():
			return fmt.Errorf("the connection ended: %w", session.Err())
		case <-ctx.Done():
			return nil
		}
	}
}

// ask sends a line and waits for its answer.
func ask(session *libnet.Session, line string, answers <-chan []byte, stdout io.Writer) error {
	began := time.Now()
	if err := session.Send(line); err != nil {
		if session.IsClosed() {
			return fmt.Errorf("the connection ended: %w", err)
		}
		fmt.Fprintf(stdout, "  not sent: %v\n", err) // too long, for instance
		return nil
	}
	select {
	case answer := <-answers:
		fmt.Fprintf(stdout, "  %s  (%v)\n", answer, time.Since(began).Round(time.Microsecond))
		return nil
	case <-session.Done():
		return fmt.Errorf("the connection ended: %w", session.Err())
	}
}

// receive ends with the session.
func receive(session *libnet.Session, answers chan<- []byte) {
	for {
		msg, err := session.Receive()
		if err != nil {
			return
		}
		select {
		case answers <- msg:
		case <-session.Done():
		}
	}
}

// readLines closes lines at the end of r. It ends after the session, but only when r lets it.
func readLines(r io.Reader, lines chan<- string, done <-chan struct{}) {
	defer close(lines)
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		select {
		case lines <- scanner.Text():
		case <-done:
			return
		}
	}
}
