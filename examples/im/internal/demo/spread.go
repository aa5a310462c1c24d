package demo

import (
	"context"
	"net"
	"slices"
	"sync"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// spread has clients connect where the gateway sends them, a few at a time, and stay.
func (d *demo) spread(ctx context.Context) error {
	d.note("%s clients connect", trial.Thousands(d.o.clients))
	const atOnce = 32
	conns := make([]net.Conn, d.o.clients)
	errs := make([]error, atOnce)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	var dialing sync.WaitGroup
	for worker := range atOnce {
		dialing.Go(func() {
			for i := worker; i < len(conns) && errs[worker] == nil; i += atOnce {
				conns[i], errs[worker] = d.connect(ctx)
			}
		})
	}
	dialing.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		d.report.Promise(false, "spread", "a client could not connect: %v", failed[0])
		return nil
	}
	d.promiseSpread(ctx)
	return nil
}

func (d *demo) promiseSpread(ctx context.Context) {
	var loads []int
	wait.Until(ctx, trial.Patience, func() bool {
		loads = loads[:0]
		total := 0
		for _, server := range d.s.Running() {
			loads = append(loads, server.Load())
			total += server.Load()
		}
		return total == d.o.clients
	})
	least, most := slices.Min(loads), slices.Max(loads)
	uneven := float64(most) / float64(max(least, 1))
	d.report.Promise(uneven <= d.o.limits.uneven && least > 0, "spread", "%s clients at %d access servers: %s, max/min %.3f (at most %.2f)",
		trial.Thousands(d.o.clients), len(loads), trial.SumOf(loads), uneven, d.o.limits.uneven)
}

// connect is the beginning of a client that goes no further.
func (d *demo) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, trial.Patience)
	defer cancel()
	server, err := client.Pick(ctx, d.s.Gateway.Addr())
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, "tcp", server)
}
