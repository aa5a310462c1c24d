package cluster

var (
	ParseAnnouncement = parseAnnouncement
	ParsePresence     = parsePresence
	ParseReply        = parseReply
	AppendClaim       = func(src []byte) ([]byte, error) { c, err := parseClaim(src); return appendClaim(nil, c), err }
	AppendPong        = func(src []byte) ([]byte, error) { p, err := parsePong(src); return appendPong(nil, p)[1:], err }
	AppendPingClock   = func(src []byte) ([]byte, error) { c, err := parsePingClock(src); return appendPingClock(nil, c), err }
	AppendKick        = func(src []byte) ([]byte, error) { t, r, err := parseKick(src); return appendKick(nil, t, r), err }
)
