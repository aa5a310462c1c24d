package mux

import (
	"math"
	"strconv"
)

// A Kind names what a message is, and so who handles it. An envelope that has numbers on the wire, as [Binary] and
// [Proto], takes kinds made by [Number] and no others.
type Kind string

// Number returns the kind of a number: its decimal digits. Make it once and keep it in a variable.
func Number(n uint64) Kind { return Kind(strconv.FormatUint(n, 10)) }

// Number returns the number of a kind that [Number] has made.
func (k Kind) Number() (n uint64, ok bool) {
	if len(k) == 0 || k[0] == '0' && len(k) > 1 {
		return 0, false
	}
	for i := range len(k) {
		digit := uint64(k[i] - '0')
		if digit > 9 || n > (math.MaxUint64-digit)/10 {
			return 0, false
		}
		n = 10*n + digit
	}
	return n, true
}

// A Role says what a message is for.
type Role uint8

const (
	Ask     Role = iota // for a handler; with an ID, it asks for a reply
	Reply               // to the request with that ID
	Failure             // in the place of a reply: its body is an [Error]. Without an ID it is about one that asked for none
)

// A Header is what an envelope says of a message besides its body.
type Header struct {
	Kind Kind   // of a Reply that was received it may be empty, but for an [OrderedEnvelope]
	ID   uint64 // of the call that asks, or is answered; 0 where there is none
	Role Role

	to *route // nil where Kinds has no handler
}

// An Envelope says how kind, role and id lie in a message, and how bodies are encoded. Its methods depend on nothing
// but their arguments, keep none of them, and may be called by several goroutines at a time.
type Envelope interface {
	// Append appends a message to dst and returns the longer slice, or dst as it was with an error, which wraps
	// libnet.ErrEncode: among others for a kind that it cannot carry. A nil body is one that is absent; the body of a
	// Failure is an *[Error].
	Append(dst []byte, h Header, body any) ([]byte, error)

	// Open takes a message apart. The body may be a part of msg, and is empty where there is none. It has kinds make
	// the header, which spares a known kind's name an allocation. What is no message of the envelope's is not ok, and
	// ends the session; so does a Role of one's own.
	Open(kinds *Kinds, msg []byte) (h Header, body []byte, ok bool)

	// Unmarshal decodes a body into a pointer, which is an *[Error] where the body is a Failure's. It keeps no part of
	// body.
	Unmarshal(body []byte, into any) error
}

// An OrderedEnvelope is an [Envelope] whose messages have no ids: the peer answers the requests of each kind in their
// order, with messages of the same kind. A message of a kind for which a call is pending is the reply to the oldest of
// these, a Failure is one to the oldest call of any kind, and everything else is for a handler. A call whose context
// has ended waits on for its reply, and counts as pending, so that the next call does not get that. [Concurrent] is not
// to be had, since replies would lose their order, nor is Config.OnFull DropOldest, which drops requests.
type OrderedEnvelope interface {
	Envelope

	// RepliesInOrder is never called.
	RepliesInOrder()
}

// Kinds are those for which a Mux has handlers. Its zero value knows none; any goroutine may use it.
type Kinds struct {
	named    map[Kind]*route
	numbered map[uint64]*route
}

// Named returns the header of a message of a kind that has this name; of an unknown one's name its first 64 bytes.
func (k *Kinds) Named(name []byte) Header {
	if r := k.named[Kind(name)]; r != nil {
		return Header{Kind: r.kind, to: r}
	}
	return Header{Kind: Kind(clip(string(name[:min(len(name), maxName+1)]), maxName))}
}

// Numbered returns the header of a message of the kind that [Number] makes of n.
func (k *Kinds) Numbered(n uint64) Header {
	if r := k.numbered[n]; r != nil {
		return Header{Kind: r.kind, to: r}
	}
	return Header{Kind: Number(n)}
}

// route finds who handles a message, also where the envelope has not asked Kinds.
func (k *Kinds) route(h *Header) *route {
	if h.to != nil {
		return h.to
	}
	return k.named[h.Kind]
}
