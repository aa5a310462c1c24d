package network

import (
	"os"
	"slices"
	"sync"
	"time"
)

// maxLate is how many packets a delay line holds; as a full router it drops what comes then.
const maxLate = 1 << 14

// A delayLine is packets that are on their way to a host. Those of equal delay arrive in their order.
type delayLine struct {
	device  *os.File
	packets chan latePacket
	end     sync.Once
	ended   chan struct{} // close closes it
}

type latePacket struct {
	due  time.Time
	data []byte
}

func newDelayLine(device *os.File) *delayLine {
	l := &delayLine{device: device, packets: make(chan latePacket, maxLate), ended: make(chan struct{})}
	go l.run()
	return l
}

func (l *delayLine) add(packet []byte, delay time.Duration) {
	select {
	case l.packets <- latePacket{time.Now().Add(delay), slices.Clone(packet)}:
	default:
	}
}

func (l *delayLine) run() {
	for {
		select {
		case p := <-l.packets:
			time.Sleep(time.Until(p.due))
			_, _ = l.device.Write(p.data)
		case <-l.ended:
			return
		}
	}
}

func (l *delayLine) close() { l.end.Do(func() { close(l.ended) }) }
