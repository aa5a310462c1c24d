package demo

import (
	"context"
	"errors"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// newsPrefix is where a server registers that no gateway knows.
	newsPrefix = "/im-demo/news/"
	// newsTimes is how often its news are waited for. Of what a busy machine does now and then, one of them sees
	// something.
	newsTimes = 20
	// newsEvery is the pause between them.
	newsEvery = 50 * time.Millisecond
)

var errNoNews = errors.New("etcd does not tell what a server has said")

// slowestNews is how long it takes at the moment, at the most, until who watches the registry knows what a server there
// has said of itself: the way that the news of a drain takes, too. All of it is in this process, with everything else,
// and on a machine that has other things to do it takes longer.
func (d *demo) slowestNews(ctx context.Context) (slowest time.Duration, err error) {
	etcd, err := registry.Connect(d.s.EtcdEndpoints()...)
	if err != nil {
		return 0, err
	}
	defer etcd.Close()
	r := registry.Register(etcd, registry.Options{
		Server: registry.Server{ID: "news", Addr: "nowhere", Capacity: 1}, Prefix: newsPrefix, Logger: d.log,
	})
	defer r.Close(context.WithoutCancel(ctx))
	w := registry.Watch(etcd, registry.WatchOptions{Prefix: newsPrefix, Logger: d.log})
	defer w.Close()
	known := func(cut bool) func() bool {
		return func() bool {
			server, ok := w.Snapshot().Get("news")
			return ok && server.Cut == cut
		}
	}
	if !wait.Until(ctx, trial.Patience, known(false)) {
		return 0, errNoNews
	}
	for i := range newsTimes {
		wait.Pause(ctx, newsEvery)
		said := time.Now()
		r.SetCut(i%2 == 0)
		if !awaitEach(ctx, time.Millisecond, known(i%2 == 0)) {
			return 0, errNoNews
		}
		slowest = max(slowest, time.Since(said))
	}
	return slowest, ctx.Err()
}

// awaitEach looks at a condition again and again, with pauses, for as long as anybody has patience.
func awaitEach(ctx context.Context, every time.Duration, condition func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, trial.Patience)
	defer cancel()
	for wait.Pause(ctx, every) {
		if condition() {
			return true
		}
	}
	return false
}
