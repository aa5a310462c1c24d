package libnettest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

func pipe(t testing.TB, size int) (a, b *libnettest.PipeConn) {
	t.Helper()
	left, right := libnettest.PipeSize(size)
	t.Cleanup(func() { left.Close(); right.Close() })
	return left.(*libnettest.PipeConn), right.(*libnettest.PipeConn)
}

func mustWrite(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if n, err := conn.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", text, n, err)
	}
}

func mustRead(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); string(got) != want || err != nil {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func wantReadError(t testing.TB, conn net.Conn, want error) {
	t.Helper()
	n, err := conn.Read(make([]byte, 8))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("Read = %d, %v; want 0, %v", n, err, want)
	}
}

func wantWriteError(t testing.TB, conn net.Conn, want error) {
	t.Helper()
	n, err := conn.Write([]byte("x"))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("Write = %d, %v; want 0, %v", n, err, want)
	}
}

// inBubble runs test in a synctest bubble, which fails it when a wait is not a durable one.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func TestPipeWriteReturnsBeforeAnybodyReads(t *testing.T) {
	a, b := pipe(t, 16)
	mustWrite(t, a, "one")
	mustWrite(t, a, "two")
	mustRead(t, b, "onetwo")
}

func TestPipeCarriesAStreamThroughASmallBufferInBothDirections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe(t, 7)
		want := make([]byte, 10_000)
		for i := range want {
			want[i] = byte(i * 31)
		}
		var wg sync.WaitGroup
		for _, ends := range [][2]*libnettest.PipeConn{{a, b}, {b, a}} {
			wg.Go(func() {
				ends[0].Write(want)
				ends[0].CloseWrite()
			})
			wg.Go(func() {
				if got, err := io.ReadAll(ends[1]); !bytes.Equal(got, want) || err != nil {
					t.Errorf("read %d bytes, %v; want the %d written", len(got), err, len(want))
				}
			})
		}
		wg.Wait()
	})
}

func TestPipeKeepsTheOrderOfBytesWhileTheBufferIsPartlyRead(t *testing.T) {
	a, b := pipe(t, 1<<10)
	var sent, read byte // the stream is 0, 1, 2 … 255, 0 …
	for _, step := range []struct{ write, read int }{
		{600, 500}, {900, 1}, {20, 700}, {300, 600}, {1000, 1010}, {1000, 1008}, {0, 1},
	} {
		out := make([]byte, step.write)
		for i := range out {
			out[i], sent = sent, sent+1
		}
		mustWrite(t, a, string(out))
		in := make([]byte, step.read)
		if _, err := io.ReadFull(b, in); err != nil {
			t.Fatal(err)
		}
		for i, got := range in {
			if got != read {
				t.Fatalf("step %v: byte %d is %d, want %d", step, i, got, read)
			}
			read++
		}
	}
}

func TestPipeWriteBlocksAtTheBufferSizeAndCountsWhatThePeerGets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe(t, 4)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		start := time.Now()
		n, err := a.Write([]byte("123456"))
		if n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Fatalf("Write = %d, %v after %v; want 4, a timeout after 1s", n, err, time.Since(start))
		}
		a.CloseWrite()
		if got, _ := io.ReadAll(b); string(got) != "1234" {
			t.Fatalf("the peer read %q, Write had said 1234", got)
		}
	})
}

func TestPipeWritesOfTwoGoroutinesDoNotMix(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe(t, 3)
		var wg sync.WaitGroup
		for _, text := range []string{"aaaaaaaa", "bbbbbbbb"} {
			wg.Go(func() { a.Write([]byte(text)) })
		}
		got := make([]byte, 16)
		io.ReadFull(b, got)
		wg.Wait()
		if s := string(got); s != "aaaaaaaabbbbbbbb" && s != "bbbbbbbbaaaaaaaa" {
			t.Fatalf("read %q", s)
		}
	})
}

func TestDeadlinesOfAPipeEndReadsAndWritesInTime(t *testing.T) {
	set := map[string]func(*libnettest.PipeConn, time.Time) error{
		"read":  (*libnettest.PipeConn).SetReadDeadline,
		"write": (*libnettest.PipeConn).SetWriteDeadline,
	}
	full := func(t testing.TB) *libnettest.PipeConn { // every read and every write of it blocks
		a, _ := pipe(t, 1)
		mustWrite(t, a, "x")
		return a
	}
	block := map[string]func(*libnettest.PipeConn) error{
		"read":  func(c *libnettest.PipeConn) error { _, err := c.Read(make([]byte, 1)); return err },
		"write": func(c *libnettest.PipeConn) error { _, err := c.Write(make([]byte, 1)); return err },
	}
	for op := range set {
		t.Run(op, func(t *testing.T) {
			for name, test := range map[string]func(t *testing.T, c *libnettest.PipeConn){
				"in the past expires at once": func(t *testing.T, c *libnettest.PipeConn) {
					set[op](c, time.Now().Add(-time.Second))
				},
				"in the future ends a later wait": func(t *testing.T, c *libnettest.PipeConn) {
					set[op](c, time.Now().Add(time.Minute))
				},
				"ends a wait that has begun": func(t *testing.T, c *libnettest.PipeConn) {
					go func() {
						time.Sleep(time.Second)
						set[op](c, time.Now())
					}()
				},
				"can be moved while a wait goes on": func(t *testing.T, c *libnettest.PipeConn) {
					set[op](c, time.Now().Add(time.Second))
					go func() {
						time.Sleep(time.Second / 2)
						set[op](c, time.Now().Add(time.Hour))
					}()
				},
				"of both directions": func(t *testing.T, c *libnettest.PipeConn) {
					c.SetDeadline(time.Now().Add(time.Second))
				},
			} {
				t.Run(name, func(t *testing.T) {
					inBubble(t, func(t *testing.T) {
						c := full(t)
						test(t, c)
						err := block[op](c)
						var timeout net.Error
						if !errors.As(err, &timeout) || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Fatalf("got %v, want a timeout", err)
						}
					})
				})
			}
		})
	}
}

func TestPipeDeadlineThatWasTakenBackDoesNotExpire(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe(t, 8)
		b.SetReadDeadline(time.Now().Add(-time.Second))
		wantReadError(t, b, os.ErrDeadlineExceeded)
		b.SetReadDeadline(time.Now().Add(time.Second))
		b.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Hour)
			a.Write([]byte("late"))
		}()
		mustRead(t, b, "late")
	})
}

func TestPipeCloseWriteEndsOneDirectionAfterWhatIsBuffered(t *testing.T) {
	a, b := pipe(t, 16)
	mustWrite(t, a, "rest")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantWriteError(t, a, syscall.EPIPE)
	mustRead(t, b, "rest")
	wantReadError(t, b, io.EOF)
	mustWrite(t, b, "answer")
	mustRead(t, a, "answer")
}

func TestPipeCloseLetsThePeerReadTheRest(t *testing.T) {
	a, b := pipe(t, 16)
	mustWrite(t, a, "rest")
	mustWrite(t, b, "unread")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantReadError(t, a, net.ErrClosed)
	wantWriteError(t, a, net.ErrClosed)
	for name, err := range map[string]error{
		"Close": a.Close(), "CloseWrite": a.CloseWrite(), "SetDeadline": a.SetDeadline(time.Time{}),
		"SetReadDeadline": a.SetReadDeadline(time.Time{}),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s on a closed end: %v", name, err)
		}
	}
	wantWriteError(t, b, syscall.EPIPE)
	mustRead(t, b, "rest")
	wantReadError(t, b, io.EOF)
}

func TestPipeCloseAndResetEndWhatWaits(t *testing.T) {
	type end func(a, b *libnettest.PipeConn) error
	for name, test := range map[string]struct {
		end         end
		read, write error // of a, which waits in both
	}{
		"own Close":   {func(a, b *libnettest.PipeConn) error { return a.Close() }, net.ErrClosed, net.ErrClosed},
		"peer Close":  {func(a, b *libnettest.PipeConn) error { return b.Close() }, io.EOF, syscall.EPIPE},
		"own Reset":   {func(a, b *libnettest.PipeConn) error { return a.Reset() }, net.ErrClosed, net.ErrClosed},
		"peer Reset":  {func(a, b *libnettest.PipeConn) error { return b.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET},
		"both finish": {func(a, b *libnettest.PipeConn) error { b.CloseWrite(); return a.CloseWrite() }, io.EOF, syscall.EPIPE},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				a, b := pipe(t, 1)
				mustWrite(t, a, "x")
				var wg sync.WaitGroup
				wg.Go(func() { wantReadError(t, a, test.read) })
				wg.Go(func() { wantWriteError(t, a, test.write) })
				synctest.Wait()
				if err := test.end(a, b); err != nil {
					t.Error(err)
				}
				wg.Wait()
			})
		})
	}
}

func TestPipeResetLosesWhatIsBuffered(t *testing.T) {
	a, b := pipe(t, 16)
	mustWrite(t, a, "lost")
	if err := a.Reset(); err != nil {
		t.Fatal(err)
	}
	wantReadError(t, b, syscall.ECONNRESET)
	wantWriteError(t, b, syscall.ECONNRESET)
}

func TestPipeUnpluggedIsABlackHoleUntilItIsPluggedIn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe(t, 4)
		a.Unplug()
		mustWrite(t, a, "1234")
		a.SetWriteDeadline(time.Now().Add(time.Second))
		wantWriteError(t, a, os.ErrDeadlineExceeded)
		a.Close()
		b.SetReadDeadline(time.Now().Add(time.Second))
		wantReadError(t, b, os.ErrDeadlineExceeded)
		mustWrite(t, b, "more") // nobody told b that a is closed

		b.Plug()
		b.SetReadDeadline(time.Time{})
		mustRead(t, b, "1234")
		wantReadError(t, b, io.EOF)
		wantWriteError(t, b, syscall.EPIPE)
	})
}

func TestPipeMethodsMayRunAtTheSameTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe(t, 64)
		var wg sync.WaitGroup
		for i := range 32 {
			conn := []*libnettest.PipeConn{a, b}[i%2]
			wg.Go(func() {
				buf := make([]byte, 100)
				for range 50 {
					conn.SetDeadline(time.Now().Add(time.Millisecond))
					conn.Read(buf)
					conn.Write(buf)
					conn.LocalAddr()
					conn.RemoteAddr()
				}
				conn.CloseWrite()
				conn.Close()
			})
		}
		wg.Wait()
	})
}

func ExamplePipe() {
	client, server := libnettest.Pipe()
	fmt.Fprint(client, "hello") // buffered: nobody needs to read yet
	client.Close()

	text, err := io.ReadAll(server)
	fmt.Println(string(text), err)
	// Output: hello <nil>
}
