package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// flags is a command's flag set with those that several commands have.
type flags struct {
	*flag.FlagSet
	about   string // precedes the options in what -help prints
	std     std
	verbose bool

	etcdFlags  etcdFlags
	natsFlags  natsFlags
	serveFlags serveFlags
}

func newFlags(name string, std std) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("im "+name, flag.ContinueOnError), std: std}
	f.SetOutput(io.Discard) // an error is returned, and printed once
	f.Usage = func() {}
	f.BoolVar(&f.verbose, "v", false, "log more")
	return f
}

// parse returns an error for what is no flag, too.
func (f *flags) parse(args []string) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(f.std.out, "%sOptions of %s:\n", f.about, f.Name())
		f.SetOutput(f.std.out)
		f.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w; options are listed by %s -help", err, f.Name())
	case f.NArg() > 0:
		return fmt.Errorf("what is %q? Options are listed by %s -help", f.Arg(0), f.Name())
	}
	return nil
}

func (f *flags) logger() *slog.Logger {
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(f.std.err, &slog.HandlerOptions{Level: level}))
}

// list cuts a flag's value at its commas.
func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}
