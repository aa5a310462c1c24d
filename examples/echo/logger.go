package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/libnet-go/libnet/glogslog"
)

func newLogger(format string, w io.Writer) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, nil)), nil
	case "glog":
		// Glog takes its settings from flag.CommandLine, and logs to files until that has been parsed.
		if err := flag.Set("logtostderr", "true"); err != nil {
			return nil, err
		}
		if err := flag.CommandLine.Parse(nil); err != nil {
			return nil, err
		}
		return slog.New(glogslog.New(nil)), nil
	}
	return nil, fmt.Errorf("-log is glog, text or json, not %q", format)
}
