package main

import (
	"context"
	"errors"

	"github.com/libnet-go/libnet/examples/im/internal/terminal"
	"github.com/libnet-go/libnet/examples/im/internal/tlsfiles"
)

func runClient(ctx context.Context, args []string, std std) error {
	flags := newFlags("client", std)
	o := terminal.Options{In: std.in, Out: std.out}
	flags.StringVar(&o.Gateway, "gateway", "", "the gateway's `address`")
	flags.Int64Var(&o.User, "user", 0, "the user's `id`")
	flags.StringVar(&o.Token, "token", "", "the user's `token`, as im token prints it; on a machine with others better not as an argument")
	tokenFile := flags.String("token-file", "", "`file` with the token; default the environment's IM_TOKEN")
	overTLS := flags.Bool("tls", false, "speak to the gateway and the access servers over TLS")
	ca := flags.String("ca", "", "`file` with the authorities that their certificates are trusted by, with -tls; default the system's")
	if err := flags.parse(args); err != nil {
		return err
	}
	if o.Token == "" {
		var err error
		if o.Token, err = secret(*tokenFile, "IM_TOKEN"); err != nil {
			return err
		}
	}
	if o.Gateway == "" || o.User < 1 || o.Token == "" {
		return errors.New("a client needs -gateway, -user and -token, -token-file or IM_TOKEN")
	}
	switch {
	case *overTLS:
		var err error
		if o.TLS, err = tlsfiles.Client(*ca, "", ""); err != nil {
			return err
		}
	case *ca != "":
		return errors.New("-ca is for -tls, which is missing")
	}
	o.Logger = flags.logger()
	return terminal.Run(ctx, o)
}
