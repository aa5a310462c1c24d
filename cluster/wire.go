package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
)

// What is sent to a user's or node's subject begins with its kind, and so does a question to a group. Numbers are big-endian.
const (
	kindMessage byte = 'm' // then the payload
	kindClaim   byte = 'c' // then a claim
	kindQuery   byte = 'q'
	kindKick    byte = 'k' // then the time up to which logins are kicked, and the reason
	kindCount   byte = 'n' // of a group
)

// An answer begins with its code.
const (
	answerQueued       byte = 'q' // the message is in the session's queue
	answerBlocked      byte = 'b' // that queue is full
	answerRejected     byte = 'r' // the session cannot encode the message
	answerGone         byte = 'g' // no session of the user here, or not any more
	answerPresence     byte = 'p' // then a Presence
	answerDelivered    byte = 'd' // then a node's part of a Delivery
	answerCount        byte = 'c' // then a number
	answerMembers      byte = 'm' // then Members
	answerKicked       byte = 'k'
	answerPong         byte = 'o' // then the dispatcher's index, their number, and the clock
	answerNoResponders byte = 'n' // made of NATS' status: nobody subscribes to the subject
	answerLost         byte = 'l' // made when the connection broke
	answerNone         byte = 0   // no answer came in time
)

var errMalformed = errors.New("cluster: malformed message of another node")

// appendClaim is 16 bytes and the instance.
func appendClaim(dst []byte, c claim) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.time))
	dst = binary.BigEndian.AppendUint64(dst, c.session)
	return append(dst, c.instance...)
}

func parseClaim(src []byte) (claim, error) {
	if len(src) <= 16 || len(src) > 16+MaxName {
		return claim{}, errMalformed
	}
	return claim{
		time:     int64(binary.BigEndian.Uint64(src)),
		session:  binary.BigEndian.Uint64(src[8:]),
		instance: string(src[16:]),
	}, nil
}

func appendKick(dst []byte, until int64, reason string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(until)), reason...)
}

func parseKick(src []byte) (until int64, reason string, err error) {
	if len(src) < 8 {
		return 0, "", errMalformed
	}
	return int64(binary.BigEndian.Uint64(src)), string(src[8:]), nil
}

// A ping carries the asking node's clock.
func appendPingClock(dst []byte, clock int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(clock))
}

func parsePingClock(src []byte) (int64, error) {
	if len(src) != 8 {
		return 0, errMalformed
	}
	return int64(binary.BigEndian.Uint64(src)), nil
}

// pong is a dispatcher's answer to a ping.
type pong struct {
	index, count int
	clock        int64
}

func appendPong(dst []byte, p pong) []byte {
	dst = append(dst, answerPong, byte(p.index), byte(p.count))
	return binary.BigEndian.AppendUint64(dst, uint64(p.clock))
}

// parsePong parses what follows the code.
func parsePong(src []byte) (p pong, err error) {
	if len(src) != 10 || src[1] == 0 || src[1] > maxDispatchers || src[0] >= src[1] {
		return pong{}, errMalformed
	}
	return pong{index: int(src[0]), count: int(src[1]), clock: int64(binary.BigEndian.Uint64(src[2:]))}, nil
}

// An announcement is a node's heartbeat: rare and small, so it is JSON that people can read, too.
type announcement struct {
	ID       string      `json:"id"`
	Instance string      `json:"instance"` // one run of a node; unique
	Started  int64       `json:"started"`  // Unix nanoseconds
	Clock    int64       `json:"clock"`
	State    nodeState   `json:"state"`
	Users    int         `json:"users"`
	Peers    []peerBrief `json:"peers,omitempty"`
}

// peerBrief is gossip: what the announcing node knows of a third.
type peerBrief struct {
	ID       string `json:"id"`
	Instance string `json:"instance"`
	Started  int64  `json:"started"`
	AgeMS    int64  `json:"age_ms"` // since it was last heard
}

func parseAnnouncement(src []byte) (a announcement, err error) {
	if err := json.Unmarshal(src, &a); err != nil {
		return announcement{}, errMalformed
	}
	if !validInstance(a.Instance) || a.ID == "" || len(a.ID) > MaxName || a.State < 0 || a.State > stateClosed {
		return announcement{}, errMalformed
	}
	for _, p := range a.Peers {
		if !validInstance(p.Instance) || p.ID == "" || len(p.ID) > MaxName || p.AgeMS < 0 {
			return announcement{}, errMalformed
		}
	}
	return a, nil
}

// validInstance keeps what becomes part of a subject free of wildcards.
func validInstance(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
