package main

import (
	"context"
	"errors"

	"github.com/libnet-go/libnet/examples/im/internal/terminal"
)

func runClient(ctx context.Context, args []string, std std) error {
	flags := newFlags("client", std)
	o := terminal.Options{In: std.in, Out: std.out}
	flags.StringVar(&o.Gateway, "gateway", "", "the gateway's `address`")
	flags.Int64Var(&o.User, "user", 0, "the user's `id`")
	flags.StringVar(&o.Token, "token", "", "the user's `token`, as im token prints it")
	if err := flags.parse(args); err != nil {
		return err
	}
	if o.Gateway == "" || o.User < 1 || o.Token == "" {
		return errors.New("a client needs -gateway, -user and -token")
	}
	o.Logger = flags.logger()
	return terminal.Run(ctx, o)
}
