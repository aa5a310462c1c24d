package cluster

// What other nodes send is decoded by these.
var (
	ParseClaim        = parseClaim
	ParseKick         = parseKick
	ParsePong         = parsePong
	ParsePingClock    = parsePingClock
	ParseAnnouncement = parseAnnouncement
	ParsePresence     = parsePresence
	ParseReply        = parseReply
)
