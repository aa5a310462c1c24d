package history

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/wait"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// A Message is what a user says to another, or in a group.
type Message struct {
	ID       int64  // unique; 0: its version, which is unique as well
	Source   int64  // who
	Target   int64  // to whom; 0 in a group
	Group    int64  // where; 0 in a direct message
	ClientID string // the sender's own name for it, at most MaxClientID bytes; "": the id, and a repetition is another message
	Text     string // at most MaxText bytes
}

// Store stores a message, or finds that it is stored already, and returns its version. ErrTooLong is the message's
// fault; ErrFull and ErrStoreFull say that there is no room for it. After any other error the message may be stored or
// not, and the sender should repeat it. A version above 0 beside an error says that the receiver's copy is stored and
// the sender's is not.
//
// Until ctx or the timeout ends Store repeats what nobody answers, so that another server of a cluster can take over.
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
	subject := h.subject("u", m.Target)
	if m.Group != 0 {
		record.MsgType = wire.TypeGroup
		subject = h.subject("g", m.Group)
	}
	once := cmp.Or(m.Identity(), rand.Text())
	if version, err = h.publish(ctx, subject, once, record); err != nil || m.Group != 0 || m.Source == m.Target {
		return version, err
	}
	record.Version = version
	return version, h.storeCopy(ctx, m.Source, "copy "+once, record)
}

// storeCopy stores what a sender said for the sender, in the place of what the sender said first if there is no room.
func (h *History) storeCopy(ctx context.Context, source int64, once string, record *wire.Record) error {
	subject := h.subject("s", source)
	for {
		_, err := h.publish(ctx, subject, once, record)
		switch {
		case errors.Is(err, ErrStoreFull):
			return nil // the receiver has it: that is what is acknowledged
		case !errors.Is(err, ErrFull):
			return err
		}
		if err := h.dropOldest(ctx, subject); err != nil {
			return err
		}
	}
}

// dropOldest removes a tenth of a subject's messages.
func (h *History) dropOldest(ctx context.Context, subject string) error {
	stream, err := streamOf(ctx, h.js, h.name)
	if err != nil {
		return fmt.Errorf("history: store: %w", err)
	}
	limit := uint64(max(stream.CachedInfo().Config.MaxMsgsPerSubject, 1))
	if keep := limit - max(limit/10, 1); keep > 0 {
		err = purge(ctx, stream, subject, jetstream.WithPurgeKeep(keep))
	} else {
		err = purge(ctx, stream, subject)
	}
	if err != nil {
		return fmt.Errorf("history: store: %w", err)
	}
	return nil
}

// publish stores a record until it is stored or refused, or ctx ends.
func (h *History) publish(ctx context.Context, subject, once string, record *wire.Record) (version int64, err error) {
	msg := &nats.Msg{Subject: subject, Data: wire.Encode(record), Header: nats.Header{}}
	msg.Header.Set(jetstream.MsgIDHeader, once)
	for {
		ack, err := h.publishOnce(ctx, msg)
		if err == nil {
			return int64(ack.Sequence), nil
		}
		if full := fullness(err); full != nil {
			h.complain(full)
			return 0, full
		}
		if !wait.Pause(ctx, retryPause) {
			return 0, fmt.Errorf("history: store: %w", err)
		}
	}
}

// complain logs that the store is full, now and then: it is the operator's to know.
func (h *History) complain(full error) {
	now, last := time.Now().Unix(), h.complained.Load()
	if full == ErrStoreFull && now-last >= int64(complainEvery/time.Second) && h.complained.CompareAndSwap(last, now) {
		h.log.Error("history: the store is full and refuses messages; -store-bytes or a shorter -store-age makes room", "stream", h.name)
	}
}

func (h *History) publishOnce(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return h.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
}

// fullness is what an error of JetStream's says about room; nil if nothing. The server has one code for all that its
// files do not take.
func fullness(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return nil
	}
	switch {
	case api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "per subject"):
		return ErrFull
	case api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "maximum"),
		api.ErrorCode == codeNoStorage, api.ErrorCode == codeNoResources:
		return ErrStoreFull
	}
	return nil
}

// Identity is what repetitions have in common. The text is a part of it, because there are clients that give all their
// messages one id: to take those for repetitions would lose what users said. A message without an id has no
// repetitions: "".
func (m Message) Identity() string {
	if m.ClientID == "" {
		return ""
	}
	hash := sha256.New()
	var number [8]byte
	for _, v := range []int64{m.Source, m.Target, m.Group, int64(len(m.ClientID))} {
		binary.BigEndian.PutUint64(number[:], uint64(v))
		hash.Write(number[:])
	}
	hash.Write([]byte(m.ClientID))
	hash.Write([]byte(m.Text))
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil))
}
