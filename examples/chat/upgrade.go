package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/handover"
)

// With -upgrade, SIGHUP starts the program anew, and that takes over: terminals notice nothing. The connections of
// pages are the HTTP server's, and cannot move; their sessions are drained, and the pages enter again at the new
// process, which has the listener of pages, too.

// pagesFD is where a process that takes over finds the listener of pages: the first of exec.Cmd's ExtraFiles.
const pagesFD = 3

// hangups tells of SIGHUP, if the program can be upgraded.
func hangups(upgrade bool) <-chan os.Signal {
	if !upgrade {
		return nil
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// listen makes the server of terminals, and the listener of pages. Where an upgrade has started this process, both are
// the old one's.
func (c *chat) listen(ctx context.Context, tcp, web string, p libnet.Protocol, stdout io.Writer) (*libnet.Server, net.Listener, error) {
	conn, err := handover.Inherited()
	if err != nil {
		return nil, nil, err
	}
	if conn != nil {
		defer conn.Close()
		return c.takeOver(ctx, conn, p, stdout)
	}
	pages, err := net.Listen("tcp", web)
	if err != nil {
		return nil, nil, err
	}
	server, err := libnet.Serve("tcp", tcp, p, limits.SendQueue)
	if err != nil {
		pages.Close()
		return nil, nil, err
	}
	limit(server)
	return server, pages, nil
}

func (c *chat) takeOver(ctx context.Context, conn *net.UnixConn, p libnet.Protocol, stdout io.Writer) (*libnet.Server, net.Listener, error) {
	file := os.NewFile(pagesFD, "pages")
	defer file.Close()
	pages, err := net.FileListener(file)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	server, result, err := handover.Take(ctx, conn, func(l net.Listener) (*libnet.Server, error) {
		server := libnet.NewServer(l, p, limits.SendQueue)
		limit(server)
		return server, nil
	}, handover.TakeOptions{Thaw: c.thaw})
	if err != nil {
		pages.Close()
		return nil, nil, err
	}
	fmt.Fprintf(stdout, "process %d takes over %d sessions\n", os.Getpid(), result.Moved)
	return server, pages, handover.Notify("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()))
}

// startNext has this program started anew, with the same arguments, and gives it the server. gone says that it has it.
func startNext(ctx context.Context, server *libnet.Server, pages net.Listener, stdout io.Writer) (gone bool) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	file, err := pages.(*net.TCPListener).File()
	if err != nil {
		fmt.Fprintln(stdout, "not upgraded:", err)
		return false
	}
	defer file.Close()
	next := exec.Command(os.Args[0], os.Args[1:]...)
	next.Stdin, next.Stdout, next.Stderr = os.Stdin, os.Stdout, os.Stderr
	next.ExtraFiles = []*os.File{file}
	result, err := handover.Upgrade(ctx, next, server, handover.GiveOptions{Freeze: freeze, Drain: time.Second})
	fmt.Fprintf(stdout, "%d sessions moved, %v stayed: %v\n", result.Moved, result.Stayed, err)
	return !errors.Is(err, handover.ErrKept)
}

// A frozen is what the new process is to know of a session that has logged in.
type frozen struct{ Name, Room string }

func freeze(s *libnet.Session) ([]byte, error) {
	u, ok := s.State.(*user)
	if !ok {
		return nil, nil
	}
	return json.Marshal(frozen{u.name, u.room})
}

func (c *chat) thaw(s *libnet.Session, state []byte) error {
	if state == nil {
		return nil
	}
	var f frozen
	if err := json.Unmarshal(state, &f); err != nil {
		return err
	}
	u := &user{f.Name, f.Room}
	c.users.Put(u.name, s)
	if u.room != "" {
		c.rooms.Put(u.room, u.name, s)
	}
	c.belongs(s, u)
	return nil
}
