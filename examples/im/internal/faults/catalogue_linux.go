package faults

import "time"

const (
	// noticed bounds what should hardly be noticed: on a machine that is shared with others.
	noticed = 2 * time.Second
	// moved bounds how long a user waits whose access server has gone: until the client has found another one.
	moved = 5 * time.Second
	// elected bounds how long nothing is stored after the stream's leader has gone: NATS elects another one after 4 to
	// 9 s, at random.
	elected = 10 * time.Second
)

// catalogue is the faults in the order in which they are tried.
var catalogue = []fault{
	{"kill-access", "kill -9 of an access server", nothing, noticed, moved, killAccess},
	{"kill-gateway", "kill -9 of the gateway, for 2 s", nothing, noticed, noticed, killGateway},
	{"pause-access", "an access server is stopped for 5 s in the middle of its work", nothing, noticed, 9 * time.Second, pauseAccess},
	{"rolling-access", "all access servers are drained and started anew, one after the other", nothing, noticed, moved, rollingAccess},
	{"crash-loop", "six access servers are killed as soon as users have come to them", nothing, noticed, moved, crashLoop},

	{"kill-leader", "kill -9 of the NATS server that leads the stream, twice", nothing, elected, elected + noticed, killLeader},
	{"kill-follower", "kill -9 of a NATS server that does not lead the stream, for 5 s", nothing, noticed, moved, killFollower},
	{"rolling-nats", "all NATS servers are ended and started anew, one after the other", nothing, elected, elected + noticed, rollingNATS},
	{"disk-full", "the disk of the NATS server that leads the stream is full for 6 s", sandbox, elected, elected + noticed, diskFull},
	{"cut-leader", "the NATS server that leads the stream reaches nobody for 8 s", sandbox, elected + noticed, elected + moved, cutLeader},
	{"nats-login", "NATS refuses the access servers' password for 6 s", nothing, 12 * time.Second, 12 * time.Second, refuseNATSLogin},

	{"pause-etcd", "etcd is stopped for 8 s in the middle of its work", nothing, noticed, noticed, pauseEtcd},
	{"etcd-away", "kill -9 of etcd, which comes back after 72 s", nothing, noticed, noticed, etcdAway},

	{"cut-nats", "an access server and NATS do not reach each other for 8 s", sandbox, noticed, cutAway, cutNATS},
	{"cut-nats-out", "NATS does not hear an access server for 8 s, which hears NATS", sandbox, noticed, cutAway, cutNATSOut},
	{"cut-nats-in", "an access server does not hear NATS for 8 s, which hears it", sandbox, noticed, cutAway, cutNATSIn},
	{"cut-etcd", "an access server and etcd do not reach each other for 8 s", sandbox, noticed, moved, cutEtcd},
	{"cut-both", "an access server reaches neither NATS nor etcd for 8 s", sandbox, noticed, cutAway, cutBoth},
	{"slow-node", "an access server is 300 ms away from NATS", sandbox, noticed, moved, slowNode},

	{"twins-cut", "40 users log in at two servers at once, one of which is cut from NATS", sandbox, noticed, cutAway, twinsCut},
	{"flood", "eight users flood the history of one who is away", nothing, noticed, noticed, flood},
	{"silent", "one address opens as many silent connections as the access servers take", nothing, noticed, noticed, silent},
	{"clock-ahead", "an access server's clock is a day ahead, and right again", nothing, noticed, moved, clockAhead},
	{"other-key", "an access server is started with another key", nothing, noticed, noticed, otherKey},
	{"large-group", "ten messages to a group of 300 who are online", nothing, noticed, noticed, largeGroup},
}
