package history

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// An entry is a message as it is stored. Several readers may have it: it does not change.
type entry struct {
	version int64 // its place in the stream; a copy's record has its original's
	record  *wire.Record
	bytes   int // of the record in an answer
}

// recordOverhead is the most that a record takes beyond its own bytes: its tag and its length.
const recordOverhead = 4

// A span is what a subject has in a stretch of the stream: in (from, to] these messages and no others.
type span struct {
	from, to int64
	entries  []entry
}

// readSpan returns what a subject has from a version on, whose message is not a part of it, and up to last, which is
// the version of a message of the subject. It may end earlier, when it has that many messages or bytes. With false the
// message last was not there: the replica lags behind, or the message is gone.
func (l *log) readSpan(ctx context.Context, subject string, from, last int64, messages, bytes int) (s span, ok bool, err error) {
	// Mostly it is that one message, which is found with less work for the server.
	answer, end, err := l.ask(ctx, l.stream, question{Seq: from + 1, Next: subject})
	if err == nil && len(answer) == 1 && sequence(answer[0]) < last {
		answer, end, err = l.ask(ctx, l.stream, question{Seq: from + 1, Next: subject, Batch: messages, MaxBytes: bytes})
	}
	if err != nil {
		return s, false, err
	}
	s = span{from: from, to: from}
	for _, msg := range answer {
		e, err := decode(msg)
		if err != nil {
			return s, false, err
		}
		s.entries = append(s.entries, e)
		s.to = e.version
	}
	stopped := len(answer) > 0 && number(end, "Nats-Num-Pending") > 0
	return s, stopped || s.to >= last, nil
}

func decode(msg *nats.Msg) (entry, error) {
	record := new(wire.Record)
	subject := msg.Header.Get("Nats-Subject")
	if err := proto.Unmarshal(msg.Data, record); err != nil {
		return entry{}, fmt.Errorf("history: %s holds what is no record: %w", subject, err)
	}
	stored, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return entry{}, fmt.Errorf("history: %s: %w", subject, err)
	}
	e := entry{version: sequence(msg), record: record}
	record.Time = stored.UnixMilli()
	if record.Version == 0 {
		record.Version = e.version
	}
	if record.ID == 0 { // nobody could number it
		record.ID = record.Version
	}
	if record.MsgID == "" {
		record.MsgID = fmt.Sprint(record.ID)
	}
	e.bytes = proto.Size(record) + recordOverhead
	return e, nil
}

// isGroup says whether a subject is a group's, which has many readers.
func (h *History) isGroup(subject string) bool { return strings.HasPrefix(subject, h.name+".g.") }
