package cluster

var (
	ParseAnnouncement = parseAnnouncement
	ParsePresence     = parsePresence
	ParseMembers      = parseMembers
	ParseReply        = parseReply
	AppendDelivery    = func(src []byte) ([]byte, error) { d, err := parseDelivery(src); return appendDelivery(nil, d), err }
	AppendCount       = func(src []byte) ([]byte, error) { c, err := parseCount(src); return appendCount(nil, c), err }
	AppendSessionKick = func(src []byte) ([]byte, error) {
		s, r, err := parseSessionKick(src)
		return appendSessionKick(nil, s, r), err
	}
	AppendClaim     = func(src []byte) ([]byte, error) { c, err := parseClaim(src); return appendClaim(nil, c), err }
	AppendPong      = func(src []byte) ([]byte, error) { p, err := parsePong(src); return appendPong(nil, p)[1:], err }
	AppendPingClock = func(src []byte) ([]byte, error) { c, err := parsePingClock(src); return appendPingClock(nil, c), err }
	AppendKick      = func(src []byte) ([]byte, error) { t, r, err := parseKick(src); return appendKick(nil, t, r), err }
)
