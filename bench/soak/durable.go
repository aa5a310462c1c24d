package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/reconnect"
)

// A durable is a client that outlives all restarts of its station.
type durable struct {
	station  *station
	crowd    atomic.Pointer[crowd] // of the round; nil between two
	client   *reconnect.Client
	accepted uint64        // messages that Send took; its sender's
	written  atomic.Uint64 // of sessions that have ended
	open     atomic.Int64  // sessions whose written is not known yet
	done     chan struct{} // closed when the sender has ended
}

var errNoRound = errors.New("between two rounds")

func newDurable(ctx context.Context, st *station, f *faults) *durable {
	d := &durable{station: st, done: make(chan struct{})}
	last := uint64(0)
	d.client = &reconnect.Client{
		Dial:       d.dial,
		MinBackoff: 20 * time.Millisecond,
		MaxBackoff: time.Second,
		Logger:     quiet,
		Handler: libnet.MessageHandlerFunc(func(_ *libnet.Session, msg []byte) {
			if c := d.crowd.Load(); c != nil {
				c.received(st)
			}
			if n := numberOf(msg); n != 0 {
				if n <= last {
					f.add("%s: a reconnecting client received %d behind %d", st.name, n, last)
				}
				last = n
			}
		}),
	}
	d.client.Start()
	go d.send(ctx)
	return d
}

func (d *durable) dial(ctx context.Context) (*libnet.Session, error) {
	c := d.crowd.Load()
	if c == nil {
		return nil, errNoRound
	}
	s, err := c.dialSession(ctx, d.station)
	if err == nil {
		d.open.Add(1)
		s.OnClose(func() {
			d.written.Add(s.Stats().MessagesOut)
			d.open.Add(-1)
		})
	}
	return s, err
}

func (d *durable) send(ctx context.Context) {
	defer close(d.done)
	for number := uint64(1); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
		if d.client.Send(numbered(number, 100)) == nil {
			d.accepted++
			number++
		}
	}
}

// end checks the account of the client's whole life.
func (d *durable) end(f *faults) {
	<-d.done
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = d.client.Shutdown(ctx)
	<-d.client.Done()
	for range 100 {
		if d.open.Load() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stats := d.client.Stats()
	if d.written.Load()+stats.Lost != d.accepted || stats.Held != 0 {
		f.add("%s: a reconnecting client sent %d, wrote %d, %+v", d.station.name, d.accepted, d.written.Load(), stats)
	}
}
