package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

// A log is a stream as its readers see it. Any replica of the stream may answer a direct get, also one that lags
// behind: what a reader must not miss is asked of the stream's leader, how far the stream is, and whoever is not
// as far does not count.
type log struct {
	*asker
	stream string
	beacon string // a subject of the stream that nobody reads; see lasts
}

// A position is how far a stream was when its leader was asked.
type position struct {
	last     int64 // the last sequence; 0: nothing was stored ever
	replicas int   // besides the leader
	quorum   bool  // a majority follows this leader: there is no other
}

// followed is how long ago a replica may have been heard of to count as following: two of the leader's heartbeats.
const followed = 2 * time.Second

// position asks the leader.
func (l *log) position(ctx context.Context) (p position, err error) {
	for {
		p, err = l.positionOnce(ctx)
		if err == nil || errors.Is(err, nats.ErrConnectionClosed) { // which does not come back
			return p, err
		}
		if !wait.Pause(ctx, retryPause) {
			return p, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// streamInfo is what a position needs of JetStream's answer about a stream.
type streamInfo struct {
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
	State struct {
		Last int64 `json:"last_seq"`
	} `json:"state"`
	Cluster *struct {
		Leader   string     `json:"leader"`
		Replicas []struct { // all but the one that answers
			Name    string        `json:"name"`
			Offline bool          `json:"offline"`
			Active  time.Duration `json:"active"` // since it was last heard of
		} `json:"replicas"`
	} `json:"cluster"`
}

// errNoLeader is the answer of a replica that knows no leader.
var errNoLeader = errors.New("the stream has no leader now")

func (l *log) positionOnce(ctx context.Context) (p position, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	reply, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+l.stream, nil)
	if err != nil {
		return p, err
	}
	var info streamInfo
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		return p, err
	}
	if info.Error != nil {
		return p, fmt.Errorf("stream %s: %s", l.stream, info.Error.Description)
	}
	p = position{last: info.State.Last, quorum: true}
	if info.Cluster == nil {
		return p, nil
	}
	if info.Cluster.Leader == "" {
		return p, errNoLeader
	}
	following := 1
	for _, replica := range info.Cluster.Replicas {
		if replica.Name == info.Cluster.Leader { // who answers knew of none when it was asked
			return p, errNoLeader
		}
		if !replica.Offline && replica.Active < followed {
			following++
		}
	}
	p.replicas = len(info.Cluster.Replicas)
	p.quorum = 2*following > p.replicas+1
	return p, nil
}

const (
	// maxSubjects is how many subjects one question may be about; the server's own bound is 1,024 messages.
	maxSubjects = 1000

	// lastsBytes bounds what the server sends at once of their last messages.
	lastsBytes = 1 << 20
)

// lasts returns the last message of each subject, of those that are above after: all that there are up to at, where the
// leader was. The answer is of a replica that is as far, or further.
func (l *log) lasts(ctx context.Context, subjects []string, after int64, at position) (messages []*nats.Msg, err error) {
	filters := subjects
	if at.replicas > 0 {
		// Only who finds something says how far it is, so that it is asked for something that is there as well.
		filters = append([]string{l.beacon}, subjects...)
	}
	for from := after + 1; ; {
		part, end, err := l.ask(ctx, l.stream, question{MultiLast: filters, Seq: from, MaxBytes: lastsBytes})
		if err != nil {
			return nil, err
		}
		switch {
		case end.Header.Get("Status") == statusEnd && number(end, "Nats-UpTo-Sequence") >= at.last:
		case end.Header.Get("Status") == statusNone && at.replicas == 0:
			return messages, nil
		default: // it lags, or has no beacon yet
			if end.Header.Get("Status") == statusNone {
				_ = l.light(ctx) // or another attempt does
			}
			if !wait.Pause(ctx, lagPause) {
				return nil, fmt.Errorf("no replica has what was stored: %w", ctx.Err())
			}
			continue
		}
		for _, msg := range part {
			if msg.Header.Get("Nats-Subject") != l.beacon {
				messages = append(messages, msg)
			}
		}
		if number(end, "Nats-Num-Pending") == 0 || len(part) == 0 {
			return messages, nil
		}
		from = sequence(part[len(part)-1]) + 1
	}
}

// lagPause is what a replica that lags is given to catch up.
const lagPause = 2 * time.Millisecond

// light stores something at the beacon's subject, which nobody reads. Who asks for the stream's position after that
// asks for one behind all that was done before.
func (l *log) light(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	reply, err := l.nc.RequestWithContext(ctx, l.beacon, []byte("beacon"))
	if err != nil {
		return err
	}
	var stored jetstream.PubAck
	if err := json.Unmarshal(reply.Data, &stored); err != nil || stored.Sequence == 0 {
		return fmt.Errorf("%s is not stored: %s", l.beacon, reply.Data)
	}
	return nil
}
