package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const (
	// pageBytes bounds a page's records as they are encoded, and leaves room in wire.MaxMessage for the rest
	// of the answer.
	pageBytes = wire.MaxMessage - 512

	// pageRecords bounds their number, and so the memory of a page of short ones.
	pageRecords = 256

	// fetchBytes is what the server sends for one page at most: a page and one message that does not fit, with
	// what JetStream adds to each.
	fetchBytes = 3 * wire.MaxMessage

	// consumerLife is how long the server keeps a consumer whose reader died.
	consumerLife = 5 * time.Second
)

// A Query says whose messages to read, and from where.
type Query struct {
	User   int64
	After  int64           // versions above this one
	Groups map[int64]int64 // the user's groups and the version at which he joined each
	Own    bool            // with what the user himself said to others; what he said in groups comes in any case
}

// A Page is a part of what a Query asks for, oldest first. It fits into one answer on the wire.
type Page struct {
	Records []*wire.Record
	Next    int64 // the After of the next Query
	More    bool  // there is more already
}

// Read returns the next page: at least one record if there is one. Nothing is skipped and nothing comes twice as long
// as the Next of one page is the After of the next. After a version that the stream does not have, because it was never
// given out or a power cut took it, Next is the stream's last: who went on from there would miss what comes before it.
func (h *History) Read(ctx context.Context, q Query) (Page, error) {
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	q.After = max(q.After, 0)
	r, err := h.newReader(ctx, q)
	if err != nil {
		return Page{}, fmt.Errorf("history: read: %w", err)
	}
	defer r.close()
	page := Page{Next: q.After, More: r.pending > 0}
	if !page.More && q.After > h.last.Load() {
		if page.Next, err = h.within(ctx, q.After); err != nil {
			return Page{}, fmt.Errorf("history: read: %w", err)
		}
	}
	for size := 0; page.More && len(page.Records) == 0; {
		if err := r.fetch(ctx, q, &page, &size); err != nil {
			return Page{}, fmt.Errorf("history: read: %w", err)
		}
		h.last.Store(page.Next)
	}
	return page, nil
}

// within returns version, or the stream's last one if that is less.
func (h *History) within(ctx context.Context, version int64) (int64, error) {
	stream, err := h.js.Stream(ctx, h.name)
	if err != nil {
		return 0, err
	}
	last := int64(stream.CachedInfo().State.LastSeq)
	h.last.Store(last)
	return min(version, last), nil
}

// A reader is a consumer for one page.
type reader struct {
	h        *History
	consumer string
	pending  uint64
}

func (h *History) newReader(ctx context.Context, q Query) (*reader, error) {
	subjects := []string{h.subject("u", q.User)}
	if q.Own {
		subjects = append(subjects, h.subject("s", q.User))
	}
	for group := range q.Groups {
		subjects = append(subjects, h.subject("g", group))
	}
	consumer, err := h.js.CreateConsumer(ctx, h.name, jetstream.ConsumerConfig{
		FilterSubjects:    subjects,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(q.After) + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: consumerLife,
	})
	if err != nil {
		return nil, err
	}
	info := consumer.CachedInfo()
	return &reader{h: h, consumer: info.Name, pending: info.NumPending}, nil
}

// close has the server forget the consumer; nobody waits for that.
func (r *reader) close() {
	_ = r.h.nc.PublishRequest("$JS.API.CONSUMER.DELETE."+r.h.name+"."+r.consumer, r.h.nc.NewRespInbox(), nil)
}

// fetch has the server send what is there, a page's worth at most, and adds to the page what of it is for the user.
func (r *reader) fetch(ctx context.Context, q Query, page *Page, size *int) (err error) {
	batch := int(min(r.pending, pageRecords))
	arrived := make(chan *nats.Msg, batch+1) // and the message that ends the batch
	inbox, err := r.h.nc.ChanSubscribe(r.h.nc.NewInbox(), arrived)
	if err != nil {
		return err
	}
	defer func() { _ = inbox.Unsubscribe() }()
	pull, err := json.Marshal(map[string]any{"batch": batch, "max_bytes": fetchBytes, "no_wait": true})
	if err != nil {
		return err
	}
	next := "$JS.API.CONSUMER.MSG.NEXT." + r.h.name + "." + r.consumer
	if err := r.h.nc.PublishRequest(next, inbox.Subject, pull); err != nil {
		return err
	}
	for i := range batch {
		var msg *nats.Msg
		select {
		case msg = <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(msg.Data) == 0 && msg.Header.Get("Status") != "" {
			return r.ended(msg, i, page)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		record, err := q.pick(msg, meta)
		if err != nil {
			return err
		}
		if record != nil {
			if *size += proto.Size(record) + recordOverhead; *size > pageBytes && len(page.Records) > 0 {
				page.More = true
				return nil
			}
			page.Records = append(page.Records, record)
		}
		page.Next = int64(meta.Sequence.Stream)
		page.More = meta.NumPending > 0
		r.pending = meta.NumPending
	}
	return nil
}

// recordOverhead is the most that a record takes beyond its own bytes: its tag and its length.
const recordOverhead = 4

// ended takes the server's word that it sends no more of this batch than it has.
func (r *reader) ended(msg *nats.Msg, received int, page *Page) error {
	switch msg.Header.Get("Status") {
	case "404", "408": // what was pending has gone
		page.More, r.pending = false, 0
		return nil
	case "409":
		if received > 0 {
			return nil // all of fetchBytes
		}
	}
	return errors.New(msg.Header.Get("Description"))
}

// pick returns the record that a message holds, or nil if the user should not see it.
func (q *Query) pick(msg *nats.Msg, meta *nats.MsgMetadata) (*wire.Record, error) {
	record, err := decode(msg)
	if err != nil {
		return nil, err
	}
	version := int64(meta.Sequence.Stream)
	if record.GroupID != 0 && version <= q.Groups[record.GroupID] {
		return nil, nil
	}
	if record.Version == 0 { // a copy has its original's
		record.Version = version
	}
	record.Time = meta.Timestamp.UnixMilli()
	return record, nil
}
