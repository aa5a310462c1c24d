//go:build !linux

package eventloop_test

import (
	"errors"
	"testing"

	"github.com/libnet-go/libnet/internal/eventloop"
)

func TestALoopOfASystemWithoutAQueueIsRefused(t *testing.T) {
	if _, err := eventloop.New(nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New = %v", err)
	}
}
