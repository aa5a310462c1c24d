package glogslog_test

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/libnet-go/libnet/glogslog"
)

// A program calls flag.Parse first, with -logtostderr on its command line if it likes, and glog.Flush
// at its end. Here the header's date, time and process id are cut off.
func Example() {
	withoutTime(func() {
		logger := slog.New(glogslog.New(nil))
		logger.Info("session closed", "id", 7, "reason", io.ErrUnexpectedEOF)
		logger.WithGroup("peer").Warn("refused", "addr", "192.0.2.1:5000", "sent", "GET / HTTP/1.1\r\n")
		logger.Debug("written with -v=1 or higher")
	})
	// Output:
	// I example_test.go:16] session closed id=7 reason="unexpected EOF"
	// W example_test.go:17] refused peer.addr=192.0.2.1:5000 peer.sent="GET / HTTP/1.1\r\n"
}

func withoutTime(f func()) {
	for _, m := range header.FindAllStringSubmatch(capture(f), -1) {
		fmt.Printf("%s %s] %s\n", m[1], m[2], m[3])
	}
}
