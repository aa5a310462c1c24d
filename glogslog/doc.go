// Package glogslog lets log/slog, and so libnet, log through [github.com/golang/glog].
//
//	func main() {
//		flag.Parse() // glog's flags: -logtostderr, -v, -vmodule, -log_dir, …
//		defer glog.Flush()
//
//		server.Logger = slog.New(glogslog.New(nil))
//		…
//	}
//
// A record becomes one line, under glog's own header with the file and line of the call to slog:
//
//	I0102 15:04:05.000000   12345 main.go:10] session ended session=7 peer.addr=192.0.2.1:5000 error="frame too large"
//
// Info, Warn and Error are glog's Info, Warning and Error, and levels in between count as the lower
// one. Nothing is Fatal: that would end the process. Debug is logged with glog's -v=1 or higher, the
// next four levels below it with -v=2, and so on; -vmodule applies to the file with the call to slog.
// A level that the header's first letter does not tell is written as level=DEBUG.
//
// Whatever could be taken for the start of a line, for another attribute, or for a control sequence of
// a terminal is quoted, in messages and keys, too: a record never makes more than one line, which
// is cut by glog at 15,000 bytes.
//
// This package does nothing on import; glog does. It adds its flags to [flag.CommandLine] and starts a
// goroutine that flushes its files and never ends. Until flag.Parse has run it logs to files in
// [os.TempDir], and it ends the process when it cannot write to them.
package glogslog
