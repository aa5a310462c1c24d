package main

import (
	"context"

	"github.com/libnet-go/libnet/examples/im/internal/faults"
)

// runFaults has flags and processes of its own: see package faults.
func runFaults(ctx context.Context, args []string, std std) error {
	return faults.Run(ctx, args, std.out, std.err)
}
