// Echo is libnet's main example: a server that sends back what it receives, and clients for it.
//
//	echo                    a server and some clients in one process, and what became of them
//	echo -listen :7000      a server until Ctrl-C
//	echo -listen :7000 -upgrade
//	                        the same; SIGHUP starts the program anew, which takes over listener and sessions (Linux)
//	echo -connect :7000     a client: what is typed is sent, a line a message
//
// With -monitor 127.0.0.1:7001 either of the first two shows on a page there what its server does.
//
// A message is 4 bytes of length, big-endian, and then so many bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/libnet-go/libnet/codec"
)

// protocol is 4 bytes of length before the message.
var protocol = codec.New(codec.Uint32BE, codec.Bytes).MaxMessage(maxMessage)

const maxMessage = 64 << 10

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run is the program without its process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "", "serve at this `address` until Ctrl-C")
	connect := flags.String("connect", "", "be a client of the server at this `address`")
	upgrade := flags.Bool("upgrade", false, "with -listen: at SIGHUP start this program again and give it the live sessions")
	watch := flags.String("monitor", "", "show what the server does on a page at this loopback `address`; the clients then go on for a minute")
	format := flags.String("log", "text", "how to log, to standard error: glog, text or json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	logger, err := newLogger(*format, stderr)
	switch {
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("what is %q? Options are listed by -help", flags.Arg(0))
	case *listen != "" && *connect != "":
		return errors.New("-listen and -connect are two programs: start one of each")
	case *upgrade && *listen == "":
		return errors.New("-upgrade is for a server: -listen says where")
	case *connect != "" && *watch != "":
		return errors.New("-monitor shows a server, and -connect has none")
	}
	slog.SetDefault(logger) // libnet logs there unless it is told otherwise
	switch {
	case *listen != "":
		return serve(ctx, *listen, *watch, hangups(*upgrade), stdout)
	case *connect != "":
		return converse(ctx, *connect, stdin, stdout)
	}
	return tell(ctx, stdout, defaultStory, *watch)
}
