//go:build !linux

package faults

import (
	"context"
	"errors"
	"io"
)

// Run says that there is no fault programme for this system.
func Run(context.Context, []string, io.Writer, io.Writer) error {
	return errors.New("the fault programme stops processes and cuts networks as Linux does it: it needs Linux")
}
