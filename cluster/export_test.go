package cluster

import "time"

var (
	ParseAnnouncement = parseAnnouncement
	ParsePresence     = parsePresence
	ParseMembers      = parseMembers
	ParseReply        = parseReply
	ValidTraceparent  = validTraceparent
	AppendDelivery    = func(src []byte) ([]byte, error) { d, err := parseDelivery(src); return appendDelivery(nil, d), err }
	AppendCount       = func(src []byte) ([]byte, error) { c, err := parseCount(src); return appendCount(nil, c), err }
	AppendKick        = func(src []byte) ([]byte, error) { s, r, err := parseKick(src); return appendKick(nil, s, r), err }
	AppendHeartbeat   = func(src []byte) ([]byte, error) { h, err := parseHeartbeat(src); return h.append(nil), err }
)

func ReceivedHeader(wire map[string][]string) (Header, time.Duration) {
	timeout, _ := callTimeout(wire)
	return receivedHeader(wire), timeout
}
