package reconnect

import (
	"fmt"
	"time"

	"github.com/libnet-go/libnet"
)

// A State is what a client is doing.
type State int

// The states of a client. It goes from Connecting to Connected or Waiting, from Connected to Waiting, from
// Waiting to Connecting, and from each of them to Closed.
const (
	Connecting State = iota // Dial and OnConnect are at work
	Connected               // messages go out and come in
	Waiting                 // until the back-off has passed
	Closed                  // for good
)

// String returns the name in lower case, as in "connecting".
func (s State) String() string {
	names := [...]string{"connecting", "connected", "waiting", "closed"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}

// A Change is a client's new state.
type Change struct {
	State   State
	Session *libnet.Session // Connected: the session that is up
	Err     error           // Waiting: why the session ended or the attempt failed; Closed: what the client's Err returns
	Delay   time.Duration   // Waiting: how long
}
