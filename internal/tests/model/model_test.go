package model

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// modelPipe is how many bytes each direction of the model's connection holds.
const modelPipe = 64

type modelConfig struct {
	queue  int
	bytes  int // of SendQueueBytes; -1: no bound
	onFull libnet.FullPolicy
	plain  bool // the codec has none of the optional interfaces
}

type modelState int

const (
	modelOpen    modelState = iota
	modelEnding             // the peer ended its side: what is queued goes out first
	modelLeaving            // Shutdown: what is queued goes out, then the half-close, then the peer's end
	modelClosed
)

// A model says what a session must do, without goroutines or clocks: after each operation all that can
// happen by itself has happened.
type model struct {
	modelConfig
	state   modelState
	reasons []error // one of these is the session's, once it is not open

	inflight, pending []int // sizes of frames
	moved             int   // bytes of inflight that are in the pipe or read
	out, discarded    int   // messages
	bytesQueued       int

	sent     int    // messages accepted
	accepted []byte // the stream of all accepted frames, but those dropped
	inPipe   int
	read     int // bytes that the peer has read

	input    []byte // from the peer, not yet a whole frame
	inFrame  bool   // and the session knows that it is waiting inside one
	received []string
	ended    bool // the peer has ended its side
	gone     bool // the peer reads no more
}

func (m *model) messages() int { return len(m.inflight) + len(m.pending) }

func (m *model) full(n int) bool {
	return m.messages() > 0 && (m.messages() >= m.queue || m.bytes > 0 && m.bytesQueued+n > m.bytes)
}

// send returns the error that Send must answer; errModelClosed stands for the session's reason.
func (m *model) send(payload string) error {
	if m.state != modelOpen {
		return errModelClosed
	}
	frame := testkit.Frame(payload)
	tooLarge := len(payload) > testkit.Max64K
	if m.full(0) || !tooLarge && m.full(len(frame)) {
		switch m.onFull {
		case libnet.RejectNewest:
			return libnet.ErrSessionBlocked
		case libnet.CloseSession:
			m.close(libnet.ErrSlowConsumer)
			return libnet.ErrSlowConsumer
		}
	}
	if tooLarge {
		return libnet.ErrFrameTooLarge
	}
	m.sent++
	m.pending = append(m.pending, len(frame))
	m.bytesQueued += len(frame)
	m.accepted = append(m.accepted, frame...)
	for m.onFull == libnet.DropOldest && len(m.pending) > 1 && (m.messages() > m.queue || m.bytes > 0 && m.bytesQueued > m.bytes) {
		m.dropFirst()
	}
	m.pump()
	return nil
}

var errModelClosed = errors.New("the session's reason")

// dropFirst forgets the oldest frame that is not under way.
func (m *model) dropFirst() {
	n := m.pending[0]
	rest := 0
	for _, size := range m.pending {
		rest += size
	}
	at := len(m.accepted) - rest
	m.accepted = slices.Delete(m.accepted, at, at+n)
	m.pending = m.pending[1:]
	m.bytesQueued -= n
	m.discarded++
}

// pump moves bytes into the pipe. A batch counts as written when all of it is.
func (m *model) pump() {
	for m.state != modelClosed && !m.gone {
		if len(m.inflight) == 0 {
			m.inflight, m.pending, m.moved = m.pending, nil, 0
		}
		size := 0
		for _, n := range m.inflight {
			size += n
		}
		n := min(modelPipe-m.inPipe, size-m.moved)
		m.moved += n
		m.inPipe += n
		if m.moved < size {
			return
		}
		m.out += len(m.inflight)
		m.bytesQueued -= size
		m.inflight, m.moved = nil, 0
		if len(m.pending) == 0 {
			m.drained()
			return
		}
	}
}

// drained is for a session that waits for its queue, which is empty.
func (m *model) drained() {
	if m.state == modelEnding || m.state == modelLeaving && m.ended {
		m.close(m.reasons...)
	}
}

// close ends the session at once. Frames that are wholly in the pipe were written.
func (m *model) close(reasons ...error) {
	if m.state == modelClosed {
		return
	}
	m.state = modelClosed
	m.reasons = reasons
	for at := 0; len(m.inflight) > 0 && at+m.inflight[0] <= m.moved; m.inflight = m.inflight[1:] {
		at += m.inflight[0]
		m.out++
	}
	m.discarded += m.messages()
	m.inflight, m.pending, m.bytesQueued = nil, nil, 0
}

// begin makes the session one that delivers what it has and then ends.
func (m *model) begin(state modelState, reasons ...error) {
	if m.state != modelOpen {
		return
	}
	m.state, m.reasons = state, reasons
	if m.messages() == 0 {
		m.drained()
	}
}

// peerWrites is input from the peer.
func (m *model) peerWrites(p []byte) {
	if m.state != modelOpen {
		return // read and dropped, or refused
	}
	m.input = append(m.input, p...)
	m.inFrame = true
	for m.state == modelOpen && len(m.input) >= testkit.HeaderSize {
		n := int(m.input[0])<<24 | int(m.input[1])<<16 | int(m.input[2])<<8 | int(m.input[3])
		if n > testkit.Max64K {
			m.close(libnet.ErrFrameTooLarge)
			return
		}
		if len(m.input) < testkit.HeaderSize+n {
			return
		}
		m.received = append(m.received, string(m.input[testkit.HeaderSize:testkit.HeaderSize+n]))
		m.input = m.input[testkit.HeaderSize+n:]
		// A plain codec that reads ahead hides the start of the next frame until more of it comes.
		m.inFrame = len(m.input) > 0 && !m.plain
	}
}

// peerReads returns what the peer must read.
func (m *model) peerReads(n int) []byte {
	n = min(n, m.inPipe)
	p := m.accepted[m.read : m.read+n]
	m.read += n
	m.inPipe -= n
	m.pump()
	return p
}

// peerEnds is the peer's half-close.
func (m *model) peerEnds() {
	m.ended = true
	switch {
	case m.state == modelOpen && len(m.input) > 0:
		m.close(io.ErrUnexpectedEOF)
	case m.state == modelOpen:
		m.begin(modelEnding, io.EOF)
	case m.state == modelLeaving && m.messages() == 0:
		m.close(m.reasons...)
	}
}

// peerGoes is the peer's close, or its reset: a reader and a writer learn of it at the same time.
func (m *model) peerGoes(reset bool) {
	m.gone = true
	blocked := m.messages() > 0
	reasons := []error{io.EOF}
	switch {
	case reset:
		reasons = []error{syscall.ECONNRESET}
	case m.state == modelEnding:
	case len(m.input) > 0 && m.state == modelOpen:
		reasons = []error{io.ErrUnexpectedEOF}
	}
	if blocked && !reset {
		reasons = append(reasons, syscall.EPIPE)
	}
	if m.state == modelLeaving || m.state == modelEnding {
		reasons = append(reasons, m.reasons...)
	}
	m.close(reasons...)
	m.ended = true
}

// aMinutePasses is longer than every timeout and shorter than two FrameTimeouts.
func (m *model) aMinutePasses() {
	blocked := m.messages() > 0
	switch {
	case m.state == modelOpen && blocked:
		m.close(libnet.ErrWriteTimeout)
	case m.state == modelOpen && m.inFrame:
		m.close(libnet.ErrFrameTimeout)
	case m.state == modelLeaving && blocked:
		m.close(libnet.ErrWriteTimeout)
	case m.state == modelEnding || m.state == modelLeaving:
		m.close(m.reasons...)
	}
}

func (m *model) String() string {
	return fmt.Sprintf("%+v state %d, reasons %v, %d in flight, %d pending, out %d, discarded %d, %d received", m.modelConfig, m.state, m.reasons,
		len(m.inflight), len(m.pending), m.out, m.discarded, len(m.received))
}
