package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// runKey makes a key, prints a key's fingerprint, or makes a key that of the installation.
func runKey(ctx context.Context, args []string, std std) error {
	flags := newFlags("key", std)
	flags.withEtcd(", for -replace")
	newFile := flags.String("new", "", "make a key, in this `file`, which must not exist")
	keyFile := flags.String("key-file", "", "print the fingerprint of the key in this `file`")
	replace := flags.Bool("replace", false, "make the key in -key-file that of the installation: access servers with another do not start any more")
	if err := flags.parse(args); err != nil {
		return err
	}
	switch {
	case (*newFile == "") == (*keyFile == ""):
		return errors.New("it takes either -new or -key-file")
	case *newFile != "" && *replace:
		return errors.New("-replace takes the key of -key-file")
	case *replace && flags.etcdFlags.at == "":
		return errors.New("-replace needs -etcd")
	case *newFile != "":
		return makeKey(*newFile, std)
	}
	tokens, err := readTokens(*keyFile, "")
	if err != nil {
		return err
	}
	if *replace {
		return flags.replaceKey(ctx, tokens)
	}
	_, err = fmt.Fprintln(std.out, tokens.Fingerprint())
	return err
}

func makeKey(file string, std std) error {
	key := token.NewKey()
	switch err := token.WriteKeyFile(file, key); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already, and stays", file)
	case err != nil:
		return err
	}
	tokens, err := token.New(key, "")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s holds a new key, with the fingerprint %s\n", file, tokens.Fingerprint())
	return err
}

func (f *flags) replaceKey(ctx context.Context, tokens *token.Tokens) error {
	access, err := f.etcdFlags.access()
	if err != nil {
		return err
	}
	client, err := registry.ConnectAs(access, f.etcdFlags.endpoints()...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := registry.ReplaceKey(ctx, client, tokens.Fingerprint()); err != nil {
		return fmt.Errorf("etcd at %s: %w", f.etcdFlags.at, err)
	}
	_, err = fmt.Fprintf(f.std.out, "access servers that start from now on have the key with the fingerprint %s\n", tokens.Fingerprint())
	return err
}
