package errchain_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet/internal/errchain"
)

type circle struct{}

func (c circle) Error() string { return "a circle" }
func (c circle) Unwrap() error { return c }

type bush struct{}

func (b bush) Error() string   { return "a bush" }
func (b bush) Unwrap() []error { return []error{b, b, b} }

// uncomparable errors are the user's to make.
type uncomparable struct{ parts []error }

func (u uncomparable) Error() string   { return "parts" }
func (u uncomparable) Unwrap() []error { return u.parts }

func TestAChainWithoutAnEndIsLookedThroughOnce(t *testing.T) {
	for _, err := range []error{circle{}, bush{}, fmt.Errorf("on top: %w", bush{})} {
		if errchain.Is(err, io.EOF) {
			t.Errorf("%v is io.EOF", err)
		}
		if found, ok := errchain.As[net.Error](err); ok {
			t.Errorf("%v is %v", err, found)
		}
	}
}

func TestIsAndAsAnswerAsPackageErrorsDoes(t *testing.T) {
	for _, err := range []error{
		nil, io.EOF, syscall.ECONNRESET, syscall.ENOENT,
		fmt.Errorf("a: %w", io.EOF), errors.Join(io.ErrUnexpectedEOF, fmt.Errorf("b: %w", io.EOF)),
		&net.OpError{Op: "read", Err: syscall.ECONNRESET}, uncomparable{[]error{io.ErrNoProgress, io.EOF}},
	} {
		for _, target := range []error{io.EOF, syscall.ECONNRESET, fs.ErrNotExist} {
			if got, want := errchain.Is(err, target), errors.Is(err, target); got != want {
				t.Errorf("Is(%v, %v) = %v", err, target, got)
			}
		}
		var want syscall.Errno
		is := errors.As(err, &want)
		if got, ok := errchain.As[syscall.Errno](err); ok != is || got != want {
			t.Errorf("As(%v) = %v, %v", err, got, ok)
		}
	}
}

func TestOnlyWhatIsKnownAndWhatPackagesErrorsAndFmtMakeAnswers(t *testing.T) {
	known := func(err error) bool { return err == syscall.ECONNRESET }
	for want, list := range map[bool][]error{
		true: {
			nil, io.EOF, syscall.ECONNRESET, fmt.Errorf("a: %w", fmt.Errorf("b: %w", io.EOF)),
			fmt.Errorf("%w and %w", io.EOF, syscall.ECONNRESET), errors.Join(io.EOF, errors.Join(syscall.ECONNRESET)),
		},
		false: {
			circle{}, bush{}, uncomparable{}, syscall.EPIPE, fmt.Errorf("a: %w", circle{}),
			fmt.Errorf("%w and %w", io.EOF, bush{}), errors.Join(syscall.ECONNRESET, uncomparable{}),
		},
	} {
		for _, err := range list {
			if got := errchain.Answers(err, known); got != want {
				t.Errorf("%T answers: %v", err, got)
			}
		}
	}
}
