package monitor

import (
	"math"
	"strconv"
	"time"
)

// tile is a number of the page with its chart.
type tile struct {
	Title, Per string
	Values     []value
	Chart      chart
	Notes      []note
}

// value is what is written large.
type value struct{ Name, Text, Class string }

// note is a number beside it, which programs can read, too: the page's tests do.
type note struct {
	Name, ID, Value, Text string
	Alarm                 bool
}

func counted(name, id string, n uint64) note {
	return note{Name: name, ID: id, Value: strconv.FormatUint(n, 10), Text: count(n)}
}

// alarming is for what should be zero.
func alarming(name, id string, n uint64) note {
	c := counted(name, id, n)
	c.Alarm = n > 0
	return c
}

var (
	messagesIn   = perSecond(func(s *sample) uint64 { return s.messagesIn })
	messagesOut  = perSecond(func(s *sample) uint64 { return s.messagesOut })
	bytesIn      = perSecond(func(s *sample) uint64 { return s.bytesIn })
	bytesOut     = perSecond(func(s *sample) uint64 { return s.bytesOut })
	closes       = perSecond(func(s *sample) uint64 { return s.closed })
	acceptErrors = perSecond(func(s *sample) uint64 { return s.acceptErrors })
	rejected     = perSecond(func(s *sample) uint64 { return s.rejected })
	open         = level(func(s *sample) int { return s.open })
	queuedBytes  = level(func(s *sample) int { return s.queuedBytes })
	waiting      = level(func(s *sample) int { return s.waiting })
	memory       = level(func(s *sample) uint64 { return s.memory })

	handling = func(before, s *sample) float64 { // the handlers at work, on average
		return perSecond(func(s *sample) uint64 { return s.handled })(before, s) / float64(time.Second)
	}
	queueWait = func(before, s *sample) float64 { // milliseconds, of the messages since, on average
		if before == nil || s.waits <= before.waits {
			return math.NaN()
		}
		return increase(before.waited, s.waited) / increase(before.waits, s.waits) / float64(time.Millisecond)
	}
)

// tiles takes the past with v's sample as the newest.
func tiles(v Varz, past []sample) []tile {
	p := pointsOf(past)
	all := []tile{
		sessionsTile(v, p),
		messagesTile(v, past, p),
		bytesTile(v, past, p),
		queuedTile(v, p),
		closesTile(v, past, p),
		slowTile(v, p),
		acceptTile(v, past, p),
		processTile(v, p),
	}
	if h := v.HandlerTime; h != nil {
		all = append(all, handlersTile(h, past, p))
	}
	if h := v.QueueWait; h != nil {
		all = append(all, queueWaitTile(h, past, p))
	}
	return all
}

var inOut = []string{"in", "out"}

// sizeOf is size for a chart's axis.
func sizeOf(n float64) string { return size(n) }

func sessionsTile(v Varz, p *points) tile {
	return tile{
		Title:  "Sessions",
		Values: []value{{Text: count(v.Open), Name: limit(v.MaxSessions)}},
		Chart:  p.chart("", whole, nil, open),
		Notes:  []note{counted("open", "open", uint64(v.Open)), counted("peak", "peak", uint64(v.Peak)), counted("accepted", "accepted", v.Accepted)},
	}
}

func messagesTile(v Varz, past []sample, p *points) tile {
	return tile{
		Title: "Messages", Per: "a second",
		Values: []value{{"in", rate(lately(past, messagesIn)), "one"}, {"out", rate(lately(past, messagesOut)), "two"}},
		Chart:  p.chart("", rate, inOut, messagesIn, messagesOut),
		Notes:  []note{counted("in all: in", "messages_in", v.MessagesIn), counted("out", "messages_out", v.MessagesOut)},
	}
}

func bytesTile(v Varz, past []sample, p *points) tile {
	return tile{
		Title: "Bytes", Per: "a second",
		Values: []value{{"in", size(lately(past, bytesIn)), "one"}, {"out", size(lately(past, bytesOut)), "two"}},
		Chart:  p.chart("B", sizeOf, inOut, bytesIn, bytesOut),
		Notes:  []note{sized("in all: in", "bytes_in", v.BytesIn), sized("out", "bytes_out", v.BytesOut)},
	}
}

func queuedTile(v Varz, p *points) tile {
	return tile{
		Title:  "Queued",
		Values: []value{{Text: size(v.QueuedBytes)}},
		Chart:  p.chart("B", sizeOf, nil, queuedBytes),
		Notes:  []note{sized("bytes", "queued_bytes", uint64(v.QueuedBytes)), counted("messages", "queued", uint64(v.Queued)), mostQueued(v)},
	}
}

func closesTile(v Varz, past []sample, p *points) tile {
	closed := uint64(0)
	for _, n := range v.Closed {
		closed += n
	}
	return tile{
		Title: "Closes", Per: "a second",
		Values: []value{{Text: rate(lately(past, closes))}},
		Chart:  p.chart("", rate, nil, closes),
		Notes:  []note{counted("closed in all", "closed", closed), alarming("panics", "panics", v.Panics)},
	}
}

func slowTile(v Varz, p *points) tile {
	return tile{
		Title: "Slow consumers", Per: "behind now",
		Values: []value{{Text: count(v.Waiting)}},
		Chart:  p.chart("", whole, nil, waiting),
		Notes: []note{
			alarming("ended for it", "slow", v.Slow),
			alarming("messages refused", "blocked", v.Blocked),
			alarming("discarded", "discarded", v.Discarded),
		},
	}
}

func acceptTile(v Varz, past []sample, p *points) tile {
	return tile{
		Title: "Accept errors", Per: "a second",
		Values: []value{{"errors", rate(lately(past, acceptErrors)), "one"}, {"rejected", rate(lately(past, rejected)), "two"}},
		Chart:  p.chart("", rate, []string{"errors", "rejected"}, acceptErrors, rejected),
		Notes:  []note{alarming("errors in all", "accept_errors", v.AcceptErrors), alarming("rejected", "rejected", v.Rejected)},
	}
}

func processTile(v Varz, p *points) tile {
	up := max(int64(v.Now.Sub(v.Started).Seconds()), 0)
	return tile{
		Title: "Process", Per: "memory",
		Values: []value{{Text: size(v.Memory)}},
		Chart:  p.chart("B", sizeOf, nil, memory),
		Notes: []note{
			counted("goroutines", "goroutines", uint64(v.Goroutines)),
			{Name: "up for", ID: "uptime", Value: strconv.FormatInt(up, 10), Text: span(v.Now, v.Started)},
			{ID: "go", Value: v.GoVersion, Text: v.GoVersion},
		},
	}
}

// handlersTile is there with Server.Histograms only.
func handlersTile(h *Histogram, past []sample, p *points) tile {
	return tile{
		Title: "Handlers", Per: "at work, on average",
		Values: []value{{Text: share(lately(past, handling))}},
		Chart:  p.chart("", share, nil, handling),
		Notes:  []note{quantile(h, "half take at most", "handler_50", 0.5), quantile(h, "99 % at most", "handler_99", 0.99)},
	}
}

// queueWaitTile is there with Server.Histograms only.
func queueWaitTile(h *Histogram, past []sample, p *points) tile {
	say := func(ms float64) string { return wait(ms / 1000) }
	return tile{
		Title: "Queue wait", Per: "on average",
		Values: []value{{Text: say(lately(past, queueWait))}},
		Chart:  p.chart("ms", say, nil, queueWait),
		Notes:  []note{quantile(h, "half wait at most", "wait_50", 0.5), quantile(h, "99 % at most", "wait_99", 0.99)},
	}
}

// quantile is the bound of the bucket in which that share of all values ends.
func quantile(h *Histogram, name, id string, share float64) note {
	all, below := h.values(), uint64(0)
	for i, bound := range h.Bounds {
		if below += h.Counts[i]; all > 0 && float64(below) >= share*float64(all) {
			return note{Name: name, ID: id, Value: strconv.FormatFloat(bound, 'g', -1, 64), Text: wait(bound)}
		}
	}
	return note{Name: name, ID: id, Text: "–"} // there is none, or it is beyond all bounds
}

func sized(name, id string, n uint64) note {
	c := counted(name, id, n)
	c.Text = size(n)
	return c
}

// limit puts a bound beside a number; there may be none.
func limit(most int) string {
	if most == 0 {
		return ""
	}
	return "of " + count(most)
}

func mostQueued(v Varz) note {
	n := counted("most of one", "queued_most", uint64(v.QueuedMost))
	if v.SendQueue > 0 {
		n.Text += " " + limit(v.SendQueue)
		n.Alarm = v.QueuedMost >= v.SendQueue
	}
	return n
}
