package history

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// A Message is what a user says to another, or in a group.
type Message struct {
	ID       int64  // unique
	Source   int64  // who
	Target   int64  // to whom; 0 in a group
	Group    int64  // where; 0 in a direct message
	ClientID string // the sender's own name for it, at most MaxClientID bytes; "": ID, and a repetition is another message
	Text     string // at most MaxText bytes
}

// Store stores a message, or finds that it is stored already, and returns its version. ErrTooLong is the message's fault,
// any other error the store's; the message may then be stored or not, and the sender should repeat it. A version above 0
// beside an error says that the receiver's copy is stored and the sender's is not.
func (h *History) Store(ctx context.Context, m Message) (version int64, err error) {
	if len(m.Text) > MaxText || len(m.ClientID) > MaxClientID {
		return 0, ErrTooLong
	}
	ctx, cancel := h.bounded(ctx)
	defer cancel()

	record := &wire.Record{
		SourceUID: m.Source, TargetUID: m.Target, GroupID: m.Group,
		MsgType: wire.TypeP2P, MsgID: m.ClientID, Msg: m.Text, ID: m.ID,
	}
	if m.ClientID == "" {
		record.MsgID = fmt.Sprint(m.ID)
	}
	subject := h.subject("u", m.Target)
	if m.Group != 0 {
		record.MsgType = wire.TypeGroup
		subject = h.subject("g", m.Group)
	}
	once := identity(record)
	if version, err = h.publish(ctx, subject, once, record); err != nil || m.Group != 0 || m.Source == m.Target {
		return version, err
	}
	record.Version = version
	_, err = h.publish(ctx, h.subject("s", m.Source), "copy "+once, record)
	return version, err
}

func (h *History) publish(ctx context.Context, subject, once string, record *wire.Record) (version int64, err error) {
	msg := &nats.Msg{Subject: subject, Data: wire.Encode(record), Header: nats.Header{}}
	msg.Header.Set(jetstream.MsgIDHeader, once)
	ack, err := h.js.PublishMsg(ctx, msg)
	if err != nil {
		return 0, fmt.Errorf("history: store: %w", err)
	}
	h.last.Store(int64(ack.Sequence))
	return int64(ack.Sequence), nil
}

// identity is what repetitions have in common. The text is a part of it, because there are clients that give all their
// messages one id: to take those for repetitions would lose what users said.
func identity(r *wire.Record) string {
	hash := sha256.New()
	var number [8]byte
	for _, v := range []int64{r.SourceUID, r.TargetUID, r.GroupID, int64(len(r.MsgID))} {
		binary.BigEndian.PutUint64(number[:], uint64(v))
		hash.Write(number[:])
	}
	hash.Write([]byte(r.MsgID))
	hash.Write([]byte(r.Msg))
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil))
}

func decode(msg *nats.Msg) (*wire.Record, error) {
	record := new(wire.Record)
	if err := proto.Unmarshal(msg.Data, record); err != nil {
		return nil, fmt.Errorf("history: %s holds what is no record: %w", msg.Subject, err)
	}
	return record, nil
}
