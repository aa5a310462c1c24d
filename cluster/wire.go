package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// What is sent to a user's or node's subject begins with its kind, and so does a question to a group. Numbers are
// big-endian.
const (
	kindMessage byte = 'm' // then the payload
	kindPost    byte = 'n' // a message that is answered only when the user has left
	kindAfter   byte = 'A' // then the number of a post that has to come first, and one of the others to a user
	kindQuery   byte = 'q'
	kindKick    byte = 'k' // then the session, 0 for any, and the reason
	kindCount   byte = 'c' // of a group
	kindFence   byte = 'f' // asks whether all that was sent before was handled
	kindGroup   byte = 'G' // then a group and a question to it, for the members at one node
	kindFate    byte = 'w' // then a fate, of who asks: has the post gone where it goes?
	kindSettled byte = 'W' // then a fate, of who sent the post: it has, or never will
	kindMark    byte = 'M' // of a node to itself; then a number and a user: what is sent to the login begins here
)

// A ping is empty, or begins with one of these.
const (
	pingNow   byte = '!' // answer though messages which came before are held, for a post that may wait for the answer (late.go)
	pingGroup byte = 'g' // then where a question to a group is answered, and the group: have its members here been asked?
)

// What is sent to a node's own subject begins with one of these, or is a message of its directory.
const (
	announcementBegins byte = '{'
	askWho             byte = '?' // announce yourself
	askPeers           byte = '*' // then the instance of who wants to know the others
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
	answerReply        byte = '=' // of a service, then its reply
	answerBusy         byte = 'B' // the service's node has no room
	answerUnanswered   byte = 'u' // the service's handler ended without a reply
	answerTooLarge     byte = 't' // the service's reply, or a list of members, is
	answerKicked       byte = 'k'
	answerPong         byte = 'o' // what was sent to the node before has been handled
	answerFence        byte = 'f'
	answerMissed       byte = '-' // the group has members here, and they were not asked
	answerNoResponders byte = 'n' // made of NATS' status: nobody subscribes to the subject
	answerLost         byte = 'l' // made when the connection broke
	answerNone         byte = 0   // no answer came in time
)

var errMalformed = errors.New("cluster: malformed message of another node")

func appendKick(dst []byte, session uint64, reason string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, session), reason...)
}

func parseKick(src []byte) (session uint64, reason string, err error) {
	if len(src) < 8 || len(src) > 8+maxReason {
		return 0, "", errMalformed
	}
	return binary.BigEndian.Uint64(src), string(src[8:]), nil
}

// appendGroupQuestion is a question to the members that one node has, whether it is known to have any or not.
func appendGroupQuestion(dst []byte, token string, kind byte, body []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, kindGroup), uint16(len(token)))
	return append(append(append(dst, token...), kind), body...)
}

// parseGroupQuestion takes apart what follows the kind.
func parseGroupQuestion(src []byte) (token string, question []byte, err error) {
	if len(src) < 2 || len(src) < 3+int(binary.BigEndian.Uint16(src)) {
		return "", nil, errMalformed
	}
	n := 2 + int(binary.BigEndian.Uint16(src))
	return string(src[2:n]), src[n:], nil
}

// A heartbeat is what a node says of itself twice a second: all others hear it, so it is small, and brief while nothing
// changes.
type heartbeat struct {
	instance string
	brief    bool   // what follows is as it was
	known    uint32 // digest of the nodes that it knows
	done     uint32 // the directory's Done
	users    int
}

// maxUsers is how many a node may say it has: whoever adds up those of all must not get less than nothing.
const maxUsers = math.MaxInt32

const (
	beatBegins  byte = 'h'
	briefBegins byte = 'i'
)

func (h heartbeat) append(dst []byte) []byte {
	number, _ := strconv.ParseUint(h.instance, 36, 64)
	if h.brief {
		return binary.BigEndian.AppendUint64(append(dst, briefBegins), number)
	}
	dst = binary.BigEndian.AppendUint64(append(dst, beatBegins), number)
	dst = binary.BigEndian.AppendUint32(dst, h.known)
	dst = binary.BigEndian.AppendUint32(dst, h.done)
	return binary.AppendUvarint(dst, uint64(h.users))
}

func parseHeartbeat(src []byte) (heartbeat, error) {
	const brief, fixed = 1 + 8, 1 + 8 + 4 + 4
	if len(src) == brief && src[0] == briefBegins {
		return heartbeat{instance: instanceName(binary.BigEndian.Uint64(src[1:])), brief: true}, nil
	}
	if len(src) <= fixed || src[0] != beatBegins {
		return heartbeat{}, errMalformed
	}
	users, size := binary.Uvarint(src[fixed:])
	if size <= 0 || size != len(src)-fixed || size > 1 && src[len(src)-1] == 0 || users > maxUsers {
		return heartbeat{}, errMalformed
	}
	return heartbeat{
		instance: instanceName(binary.BigEndian.Uint64(src[1:])),
		known:    binary.BigEndian.Uint32(src[9:]),
		done:     binary.BigEndian.Uint32(src[13:]),
		users:    int(users),
	}, nil
}

// instanceName is how the number of an instance is written: in few letters that may be part of a subject.
func instanceName(number uint64) string { return strings.ToUpper(strconv.FormatUint(number, 36)) }

// An announcement says who a node is: it is rare, so it is JSON that people can read, too.
type announcement struct {
	ID       string     `json:"id"`
	Instance string     `json:"instance"` // one run of a node; unique
	Started  int64      `json:"started"`  // Unix nanoseconds
	State    nodeState  `json:"state"`
	Users    int        `json:"users"`
	Known    uint32     `json:"known"` // digest of the nodes that it knows
	Done     uint32     `json:"done"`  // the directory's Done
	Peers    peerBriefs `json:"peers,omitempty"`
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
	if a.Users < 0 || a.Users > maxUsers {
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
