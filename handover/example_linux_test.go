package handover_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/handover"
)

// exampleVariable tells the example's second process, which is this test binary, too, what it is.
const exampleVariable = "LIBNET_HANDOVER_EXAMPLE"

// greet answers each message with the user's name, which is the session's State, and with what serves it.
func greet(s *libnet.Session, msg []byte) {
	process := "the first process"
	if os.Getenv(exampleVariable) != "" {
		process = "the second process"
	}
	_ = s.Send(fmt.Sprintf("%s says %s to %s", s.State, msg, process))
}

// listenOrTake is what a program that can be upgraded begins with.
func listenOrTake(ctx context.Context) (*libnet.Server, error) {
	conn, err := handover.Inherited()
	if err != nil {
		return nil, err
	}
	if conn == nil { // nobody gives us anything
		return libnet.Serve("tcp", "127.0.0.1:0", protocol, 64)
	}
	defer conn.Close()
	srv, _, err := handover.Take(ctx, conn, func(l net.Listener) (*libnet.Server, error) {
		return libnet.NewServer(l, protocol, 64), nil
	}, handover.TakeOptions{
		Thaw: func(s *libnet.Session, state []byte) error { s.State = string(state); return nil },
	})
	return srv, err
}

func freezeName(s *libnet.Session) ([]byte, error) { return []byte(s.State.(string)), nil }

func ExampleUpgrade() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	srv, err := listenOrTake(ctx)
	if err != nil {
		log.Fatal(err)
	}
	srv.OnSession = func(s *libnet.Session) error { s.State = "Ada"; return nil } // the login
	served := make(chan error, 1)
	go func() { served <- srv.ServeMessages(libnet.MessageHandlerFunc(greet)) }()

	client, err := libnet.Connect("tcp", srv.Listener().Addr().String(), protocol, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	say := func(msg string) {
		_ = client.Send(msg)
		answer, err := client.Receive()
		fmt.Println(string(answer), err)
	}
	say("hello")

	next := exec.Command(os.Args[0]) // the new program; here it is this one, again
	next.Env = append(os.Environ(), exampleVariable+"=second")
	result, err := handover.Upgrade(ctx, next, srv, handover.GiveOptions{Freeze: freezeName})
	fmt.Println(result.Moved, "session moved,", err)
	fmt.Println(<-served)
	say("hello again")

	_ = next.Process.Kill()
	_ = next.Wait()
	// Output:
	// Ada says hello to the first process <nil>
	// 1 session moved, <nil>
	// libnet: server closed
	// Ada says hello again to the second process <nil>
}

// What systemd does with a service of Type=notify is done here by hand.
func ExampleNotify() {
	folder, err := os.MkdirTemp("", "notify")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	name := filepath.Join(folder, "socket")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		log.Fatal(err)
	}
	defer systemd.Close()
	os.Setenv("NOTIFY_SOCKET", name)
	defer os.Unsetenv("NOTIFY_SOCKET")

	// After a Take, which has made this the service's process.
	err = handover.Notify("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()))

	state := make([]byte, 100)
	n, _ := systemd.Read(state)
	fmt.Println(err, strings.Contains(string(state[:n]), strconv.Itoa(os.Getpid())))
	fmt.Println(strings.Split(string(state[:n]), "\n")[0])
	// Output:
	// <nil> true
	// READY=1
}

// runExample is the second process.
func runExample() {
	srv, err := listenOrTake(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(srv.ServeMessages(libnet.MessageHandlerFunc(greet)))
}
