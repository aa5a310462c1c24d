package main

import (
	"context"
	"io"
)

func runDemo(ctx context.Context, o systemOptions, w io.Writer) error { return nil }
