package faults

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestD69D68MessagesKeepTheirSendersOrderAndReceiversTakeTurns(t *testing.T) {
	const senders = 8
	messages := testkit.Size(2000, 50_000)
	for name, queue := range map[string]int{"no queue": 0, "a queue": 16} {
		for codecs, protocol := range map[string]libnet.Protocol{"pure": testkit.Frames64K, "plain": testkit.Plain64K} {
			t.Run(name+", "+codecs, func(t *testing.T) {
				r := testkit.ServeWith(t, protocol, func(srv *libnet.Server) { srv.SendQueue = queue }, func(s *libnet.Session) {
					var wg sync.WaitGroup
					for sender := range senders {
						wg.Go(func() {
							msg := make([]byte, 9)
							for i := range messages {
								msg[0] = byte(sender)
								binary.BigEndian.PutUint64(msg[1:], uint64(i))
								if err := s.SendContext(t.Context(), msg); err != nil {
									t.Errorf("Send = %v", err)
									return
								}
								clear(msg) // D76: the message is the caller's again
							}
						})
					}
					wg.Wait()
				})
				client := libnet.NewServer(libnettest.NewListener(), protocol, 0)
				defer client.Stop()
				s, err := client.NewSession(r.Dial())
				if err != nil {
					t.Fatal(err)
				}
				takeTurns(t, s, senders, messages)
			})
		}
	}
}

// takeTurns receives on several goroutines and checks that each sees every sender's messages in order
// and that together they see them all.
func takeTurns(t *testing.T, s *libnet.Session, senders, messages int) {
	t.Helper()
	var total atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			last := make([]int, senders)
			for i := range last {
				last[i] = -1
			}
			for {
				msg, err := s.Receive()
				if err != nil {
					if err != io.EOF {
						t.Errorf("Receive = %v", err)
					}
					return
				}
				total.Add(1)
				sender, i := msg[0], int(binary.BigEndian.Uint64(msg[1:]))
				if i <= last[sender] {
					t.Errorf("sender %d: message %d after %d", sender, i, last[sender])
				}
				last[sender] = i
			}
		})
	}
	wg.Wait()
	if got := total.Load(); got != int64(senders*messages) {
		t.Errorf("%d messages of %d arrived", got, senders*messages)
	}
}

func TestD75AReceivedMessageIsTheCallersForGood(t *testing.T) {
	client, server := libnettest.Pipe()
	srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames64K, 0)
	defer srv.Stop()
	s, err := srv.NewSession(server)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := range 2000 {
			_, _ = client.Write(testkit.Frame(string(rune('a' + i%26))))
		}
		client.Close()
	}()
	var kept [][]byte
	for {
		msg, err := s.Receive()
		if err != nil {
			break
		}
		kept = append(kept, msg)
	}
	for i, msg := range kept {
		if string(msg) != string(rune('a'+i%26)) {
			t.Fatalf("message %d became %q", i, msg)
		}
	}
}
