package testkit

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Patience is how long a test waits for what must come; a test that passes does not wait that long.
const Patience = 10 * time.Second

// Within runs f and fails the test when that takes longer than d.
func Within(t testing.TB, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	Await(t, d, what, done)
}

// Await waits for a channel to be closed, or for a value.
func Await[T any](t testing.TB, d time.Duration, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("%s: not within %v", what, d)
		panic("unreachable")
	}
}

// Eventually polls a condition that nothing announces.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	EventuallyWithin(t, Patience, what, condition)
}

// EventuallyWithin is Eventually for what takes its time.
func EventuallyWithin(t testing.TB, d time.Duration, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

// TimeoutContext returns a context that ends after d, or with the test.
func TimeoutContext(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// WantErr ends the test if an error is not the one that it wants.
func WantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s = %v; want %v", what, got, want)
	}
}

// CheckErr is WantErr for other goroutines than the test's.
func CheckErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s = %v; want %v", what, got, want)
	}
}
