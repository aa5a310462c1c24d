package cluster_test

import (
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
)

func TestTheTimeInWhichAProcessStandsStillDoesNotPass(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		at    time.Duration
		ticks []time.Duration
		want  time.Duration
	}{
		"before the first tick":         {1000 * ms, nil, 0},
		"between two ticks":             {160 * ms, []time.Duration{0, 100 * ms}, 160 * ms},
		"a tick that is a little late":  {190 * ms, []time.Duration{0, 180 * ms}, 190 * ms},
		"who asks before the next tick": {9000 * ms, []time.Duration{0, 100 * ms}, 300 * ms},
		"the tick after a long pause":   {9050 * ms, []time.Duration{0, 100 * ms, 9000 * ms}, 350 * ms},
		"many late ticks":               {3000 * ms, []time.Duration{0, 1000 * ms, 2000 * ms, 3000 * ms}, 600 * ms},
	} {
		if got := cluster.RunTime(test.at, test.ticks...); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
