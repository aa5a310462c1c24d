package cluster

import (
	"context"
	"maps"
	"strings"

	"github.com/nats-io/nats.go"
)

// A Header is what travels beside a call: pairs of a key and a value. Keys have up to 64 letters in lower case, digits,
// '-' and '_'; values no control characters; all of them together 4,096 bytes. Keys that begin with "libnet-" are this
// package's.
type Header map[string]string

const (
	maxKey    = 64
	maxHeader = 4096
	ownKeys   = "libnet-"
)

// WithHeader returns a context whose calls carry h, and what ctx's would that h does not name.
func WithHeader(ctx context.Context, h Header) context.Context {
	needContext(ctx)
	all := maps.Clone(headerOf(ctx, sentKey{}))
	if all == nil {
		all = make(Header)
	}
	maps.Copy(all, h)
	return context.WithValue(ctx, sentKey{}, all)
}

// HeaderOf returns a copy of what came with the call that is handled with ctx; it is empty otherwise.
func HeaderOf(ctx context.Context) Header {
	needContext(ctx)
	h := maps.Clone(headerOf(ctx, receivedKey{}))
	if h == nil {
		h = make(Header)
	}
	return h
}

type (
	sentKey     struct{} // of a context whose calls carry a Header
	receivedKey struct{} // of a handler's context
)

func headerOf(ctx context.Context, key any) Header {
	h, _ := ctx.Value(key).(Header)
	return h
}

// callHeader is what travels with a call: the trace that is under way, what the caller added, and its deadline.
func (n *Node) callHeader(ctx context.Context) (nats.Header, error) {
	h := make(Header)
	carryTrace(h, headerOf(ctx, receivedKey{}))
	n.trace.inject(ctx, h)
	maps.Copy(h, headerOf(ctx, sentKey{}))
	if !h.valid() {
		return nil, ErrInvalidHeader
	}
	wire := make(nats.Header, len(h)+1)
	for key, value := range h {
		wire[key] = []string{value}
	}
	appendTimeout(wire, ctx)
	return wire, nil
}

func (h Header) valid() bool {
	size := 0
	for key, value := range h {
		size += len(key) + len(value)
		if !validKey(key) || !validValue(value) || size > maxHeader {
			return false
		}
	}
	return true
}

func validKey(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return key != "" && len(key) <= maxKey && !strings.HasPrefix(key, ownKeys)
}

// validValue refuses what NATS would change on the way.
func validValue(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return value == strings.TrimSpace(value)
}

// receivedHeader is what came with a call. Whoever may publish to NATS can have sent it: what no Carry would send is
// left out.
func receivedHeader(wire nats.Header) Header {
	h := make(Header)
	size := 0
	for key, values := range wire {
		if len(values) == 0 || !validKey(key) || !validValue(values[0]) {
			continue
		}
		if size += len(key) + len(values[0]); size > maxHeader {
			return make(Header)
		}
		h[key] = values[0]
	}
	if !validTraceparent(h[traceparent]) {
		delete(h, traceparent)
		delete(h, tracestate)
	}
	return h
}
