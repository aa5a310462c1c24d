package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/wait"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const (
	// pageBytes bounds a page's records as they are encoded, and leaves room in wire.MaxMessage for the rest
	// of the answer.
	pageBytes = wire.MaxMessage - 512

	// pageRecords bounds their number, and so the memory of a page of short ones.
	pageRecords = 256

	// fetchBytes is what is read for one page, of all subjects together: a page and a message that does not fit. A
	// subject gives one message at least.
	fetchBytes = 2 * wire.MaxMessage
)

// A Query says whose messages to read, and from where.
type Query struct {
	User   int64
	After  int64           // versions above this one
	Groups map[int64]int64 // the user's groups and the version at which he joined each
	Own    bool            // with what the user himself said to others; what he said in groups comes in any case
}

// A Page is a part of what a Query asks for, oldest first. It fits into one answer on the wire. The records belong to
// all readers: they must not be changed.
type Page struct {
	Records []*wire.Record
	Next    int64 // the After of the next Query
	More    bool  // there is more already
}

// errLost is the answer to who knows more than the stream, as long as it cannot be told whether something was lost or
// another server of a cluster has it.
var errLost = errors.New("what was read before is not there, and no majority of replicas to ask")

// Read returns the next page: at least one record if there is one. What was acknowledged before Read was called is
// there. Nothing is skipped and nothing comes twice as long as the Next of one page is the After of the next. After a
// version that the stream does not have, because it was never given out or a power cut took it, Next is the stream's
// last: who went on from there would miss what comes before it.
func (h *History) Read(ctx context.Context, q Query) (Page, error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	q.After = max(q.After, 0)
	for pause := lagPause; ; {
		page, ok, err := h.readPage(ctx, q)
		switch {
		case err != nil:
			return Page{}, fmt.Errorf("history: read: %w", err)
		case !ok: // some replica lags
			wait.Pause(ctx, pause)
			pause = min(2*pause, 50*time.Millisecond)
		case page.More && len(page.Records) == 0:
			q.After = page.Next
		default:
			return page, nil
		}
	}
}

// readPage returns false when what is known to be there could not be read.
func (h *History) readPage(ctx context.Context, q Query) (page Page, ok bool, err error) {
	look, err := h.frontier.look(ctx, h.subjectsOf(q), q.After)
	if err != nil {
		return page, false, err
	}
	page.Next = q.After
	switch {
	case look.upTo < q.After && !look.known:
		return page, false, errLost
	case look.upTo < q.After:
		page.Next = look.upTo
		return page, true, nil
	case len(look.newer) == 0:
		return page, true, nil
	}
	entries, upTo, ok, err := h.collect(ctx, q, look)
	if err != nil || !ok {
		return page, false, err
	}
	newest := int64(0)
	for _, version := range look.newer {
		newest = max(newest, version)
	}
	return q.page(entries, upTo, min(newest, look.upTo)), true, nil
}

func (h *History) subjectsOf(q Query) []string {
	subjects := make([]string, 0, len(q.Groups)+2)
	subjects = append(subjects, h.subject("u", q.User))
	if q.Own {
		subjects = append(subjects, h.subject("s", q.User))
	}
	for group := range q.Groups {
		subjects = append(subjects, h.subject("g", group))
	}
	return subjects
}

// collect reads all subjects that have something newer. What it returns is complete up to a version.
func (h *History) collect(ctx context.Context, q Query, look *lookup) (entries []entry, upTo int64, ok bool, err error) {
	joined := make(map[string]int64, len(q.Groups))
	for group, since := range q.Groups {
		joined[h.subject("g", group)] = since
	}
	upTo = look.upTo
	messages, bytes := max(1, pageRecords/len(look.newer)), fetchBytes/len(look.newer)
	for subject, last := range look.newer {
		from := max(q.After, joined[subject])
		if from >= last {
			continue // from before the user was a member
		}
		read := h.messages.readSpan
		if h.isGroup(subject) {
			read = h.recent.read
		}
		span, ok, err := read(ctx, subject, from, last, messages, bytes)
		if err != nil || !ok {
			return nil, 0, false, err
		}
		if span.to < last {
			upTo = min(upTo, span.to)
		}
		entries = append(entries, span.entries...)
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.version, b.version) })
	return entries, upTo, true, nil
}

// page takes of the entries, which are complete up to a version, as many as fit. newest is the last that there is, as
// far as the leader has said: a replica may have more, and who was given that would seem to know more than the stream.
func (q *Query) page(entries []entry, upTo, newest int64) (page Page) {
	size := 0
	page.Next = q.After
	for _, e := range entries {
		if e.version > upTo {
			break
		}
		if size += e.bytes; len(page.Records) > 0 && (size > pageBytes || len(page.Records) == pageRecords) {
			page.More = true
			return page
		}
		page.Records = append(page.Records, e.record)
		page.Next = e.version
	}
	page.Next = max(page.Next, min(upTo, newest))
	page.More = page.Next < newest
	return page
}
