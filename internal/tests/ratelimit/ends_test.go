package ratelimit

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

var oneAnHour = libnet.RateLimit{Messages: 1, Per: time.Hour}

func TestWhereTheLimitSaysEndTheMessageBeyondItEndsTheSession(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				received := 0
				r := way.start(t, func(srv *libnet.Server) { srv.RateLimit = libnet.RateLimit{Messages: 2, End: true} },
					func(*rig, []byte, time.Duration) { received++ })
				r.send(t, 1, 1)
				time.Sleep(500 * time.Millisecond)
				r.send(t, 1)
				synctest.Wait()
				if received != 3 || r.session.IsClosed() {
					t.Fatalf("received %d messages of 3 within the limit, and ended with %v", received, r.session.Err())
				}
				time.Sleep(499 * time.Millisecond)
				r.send(t, 5)
				<-r.session.Done()
				if after := time.Since(r.begun); after != 999*time.Millisecond {
					t.Errorf("ended after %v", after)
				}
				stats := r.session.Stats()
				if err := r.session.Err(); err != libnet.ErrRateLimit || received != 3 || stats.MessagesIn != 3 || stats.Dropped != 9 {
					t.Errorf("ended with %v, received %d, %+v", err, received, stats)
				}
				synctest.Wait()
				if closed := r.Stats().Closed; closed["rate_limit"] != 1 {
					t.Errorf("closed for %v", closed)
				}
			})
		})
	}
}

func TestNoEndWaitsForAPause(t *testing.T) {
	for name, end := range map[string]func(r *rig) error{
		"Close":           func(r *rig) error { return r.session.Close() },
		"Shutdown":        func(r *rig) error { return r.session.Shutdown(context.Background()) },
		"Server.Stop":     func(r *rig) error { r.Stop(); return nil },
		"Server.Shutdown": func(r *rig) error { return r.Server.Shutdown(context.Background()) },
	} {
		for wayName, way := range ways {
			t.Run(name+", "+wayName, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := way.start(t, func(srv *libnet.Server) { srv.RateLimit = oneAnHour }, func(*rig, []byte, time.Duration) {})
					r.send(t, 1, 2, 3)
					synctest.Wait()
					go r.endWithServer()
					if err := end(r); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					synctest.Wait()
					if stats := r.session.Stats(); time.Since(r.begun) != 0 || stats.MessagesIn != 1 || stats.Dropped != 6+7 {
						t.Errorf("it took %v: %+v", time.Since(r.begun), stats)
					}
				})
			})
		}
	}
}

// endWithServer is a client that ends when the server does.
func (r *rig) endWithServer() {
	_, _ = io.Copy(io.Discard, r.client)
	_ = r.client.Close()
}

func TestAShutdownThatServesWhatHasArrivedDoesNotPauseForIt(t *testing.T) {
	for name, way := range ways {
		if way.secure || name == "plain codec" { // which receive no more than what they have begun
			continue
		}
		t.Run(name, func(t *testing.T) {
			received := make(chan int, 10)
			l := testkit.Listen(t, "tcp")
			srv := libnet.NewServer(l, way.protocol, 8)
			srv.Logger, srv.RateLimit, srv.ServeArrived = testkit.Quiet, oneAnHour, true
			served := make(chan error, 1)
			go func() {
				served <- way.serve(srv, libnet.MessageHandlerFunc(func(_ *libnet.Session, msg []byte) { received <- len(msg) }))
			}()
			client, err := testkit.DialTCP(l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for i := range 5 {
				testkit.MustWrite(t, client, testkit.Frame(string(make([]byte, i))))
			}
			testkit.Await(t, testkit.Patience, "the first message", received)
			go (&rig{client: client}).endWithServer()
			if err := srv.Shutdown(testkit.TimeoutContext(t, testkit.Patience)); err != nil {
				t.Error(err)
			}
			<-served
			if len(received) != 4 {
				t.Errorf("%d of the 4 messages that waited were received", len(received))
			}
		})
	}
}

// A peer that is sent a pause's bill is not charged the time, too.
func TestNoTimeoutPassesForATimeThatTheSessionPaused(t *testing.T) {
	for name, configure := range map[string]func(*libnet.Server){
		"idle":      func(srv *libnet.Server) { srv.IdleTimeout = 10 * time.Second },
		"handshake": func(srv *libnet.Server) { srv.HandshakeTimeout = 10 * time.Second },
		"frame":     func(srv *libnet.Server) { srv.FrameTimeout = 10 * time.Second },
	} {
		for wayName, way := range ways {
			t.Run(name+", "+wayName, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					received := 0
					r := way.start(t, func(srv *libnet.Server) {
						srv.RateLimit = libnet.RateLimit{Messages: 1, Per: time.Minute}
						configure(srv)
					}, func(*rig, []byte, time.Duration) { received++ })
					r.send(t, 1, 2, 3, 4)
					whole := testkit.Frame("half of it")
					testkit.MustWrite(t, r.client, whole[:7])
					time.Sleep(3*time.Minute + 5*time.Second)
					synctest.Wait()
					if received != 4 || r.session.IsClosed() {
						t.Fatalf("received %d, ended with %v", received, r.session.Err())
					}
					testkit.MustWrite(t, r.client, whole[7:])
					time.Sleep(55*time.Second + time.Nanosecond)
					synctest.Wait()
					if received != 5 && name != "idle" { // which may have passed: nothing came for 55 s
						t.Fatalf("received %d, ended with %v", received, r.session.Err())
					}
				})
			})
		}
	}
}

func TestASilentPeerIsIdleBehindAPause(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := way.start(t, func(srv *libnet.Server) {
					srv.RateLimit = libnet.RateLimit{Messages: 1, Per: time.Minute}
					srv.IdleTimeout = 10 * time.Second
				}, func(*rig, []byte, time.Duration) {})
				r.send(t, 1, 2)
				<-r.session.Done()
				after, latest := time.Since(r.begun), 70*time.Second+100*time.Millisecond // of a second look
				if way.secure {                                                           // nobody can tell what has arrived
					latest += 10 * time.Second
				}
				if err := r.session.Err(); err != libnet.ErrIdleTimeout || after < 70*time.Second || after > latest {
					t.Errorf("ended with %v after %v", err, after)
				}
			})
		})
	}
}

// As with a slow receiver, what a peer has sent before its end is received before that.
func TestAPeersEndComesBehindWhatItHasSent(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				received := 0
				r := way.start(t, func(srv *libnet.Server) { srv.RateLimit = libnet.RateLimit{Messages: 1} },
					func(*rig, []byte, time.Duration) { received++ })
				r.send(t, 1, 2, 3)
				_ = r.client.Close()
				<-r.session.Done()
				after, err := time.Since(r.begun), r.session.Err()
				if !errors.Is(err, io.EOF) || received != 3 || after < 2*time.Second || after > 3*time.Second {
					t.Errorf("ended with %v after %v and %d messages", err, after, received)
				}
			})
		})
	}
}
