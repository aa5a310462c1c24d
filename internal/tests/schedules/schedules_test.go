//go:build schedules

package schedules

import (
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

func onFull(policy libnet.FullPolicy) func(*libnet.Server) {
	return func(srv *libnet.Server) { srv.OnFull = policy }
}

func beats(srv *libnet.Server) {
	srv.Heartbeat = libnet.Heartbeat{Interval: interval, Message: func(*libnet.Session) any { return []byte("h0") }}
}

// Without a WriteTimeout, who waits for a peer that does not read waits until something else ends it.
func TestSendContextGoesOnAsSoonAsThereIsRoom(t *testing.T) {
	explore(t, scenario{bound: 3, queue: 2, config: func(srv *libnet.Server) { srv.WriteTimeout = -1 }, actors: map[string]steps{
		"a": {send(), send()},
		"b": {sendContext(20 * time.Second)},
		"c": {peerReads(1)},
	}})
}

func TestSendersThatWaitForRoomAllGetIt(t *testing.T) {
	explore(t, scenario{bound: 2, queue: 1, actors: map[string]steps{
		"a": {sendContext(ever), sendContext(ever)},
		"b": {sendContext(ever), sendContext(time.Second)},
		"c": {peerReads(1), sleep(time.Second), peerReads(3)},
	}})
}

func TestWriteTimeoutBoundsTheWriteBehindAnother(t *testing.T) {
	explore(t, scenario{bound: 4, queue: 4, room: 1, actors: map[string]steps{
		"a": {send()},
		"b": {send()},
	}})
}

func TestAFullQueueRefusesTheNewestAndCountsExactly(t *testing.T) {
	explore(t, scenario{bound: 2, queue: 2, room: 1, config: onFull(libnet.RejectNewest), actors: map[string]steps{
		"a": {send(), send(), send()},
		"b": {broadcast(), broadcast()},
		"c": {peerReads(1), closeNow()},
	}})
}

func TestAFullQueueDropsTheOldestAndCountsExactly(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 2, config: onFull(libnet.DropOldest), check: refusedNothing, actors: map[string]steps{
		"a": {send(), send(), send()},
		"b": {broadcast(), broadcast()},
		"c": {peerReads(2), shutdown(2 * time.Second)},
	}})
}

func TestAFullQueueEndsItsSessionOnceAndCountsExactly(t *testing.T) {
	explore(t, scenario{bound: 2, queue: 2, config: onFull(libnet.CloseSession), actors: map[string]steps{
		"a": {send(), send(), send()},
		"b": {broadcast(), sendContext(time.Second)},
		"c": {peerReads(1), closeWithError()},
	}})
}

func TestShutdownDeliversWhatWasAcceptedToAPeerThatReadsLate(t *testing.T) {
	explore(t, scenario{bound: 2, queue: 8, room: 1, check: discardedNothing, actors: map[string]steps{
		"a": {send(), send(), broadcast()},
		"b": {shutdown(time.Minute)},
		"c": {sleep(2 * time.Second), peerReads(8), peerEnds()},
	}})
}

func TestShutdownOfAPeerThatNeverReadsEndsInTime(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 8, actors: map[string]steps{
		"a": {send()},
		"b": {shutdown(time.Second)},
		"c": {sendContext(time.Minute)},
	}})
}

func TestThreeEndsOfASessionAreOne(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 4, room: 1, actors: map[string]steps{
		"a": {send(), send(), closeNow()},
		"b": {closeWithError()},
		"c": {shutdown(time.Second)},
	}})
}

func TestAHeartbeatMeetsSendsAndTheEnd(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 2, room: 2, config: beats, actors: map[string]steps{
		"a": {send(), sleep(interval), send(), sendContext(time.Second)},
		"b": {sleep(interval), broadcast()},
		"c": {sleep(interval), closeNow()},
	}})
}

func TestAReceiverThatAnswersMeetsOtherSendersAndThePeersEnd(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 4, room: 8, actors: map[string]steps{
		"a": {receive(), send(), receive(), send(), receive()},
		"b": {peerSends(1), peerSends(1), peerEnds()},
		"c": {send(), broadcast()},
	}})
}

func TestAReceiverMeetsShutdown(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 4, room: 8, actors: map[string]steps{
		"a": {receive(), send()},
		"b": {peerSends(2), peerEnds()},
		"c": {shutdown(2 * time.Second)},
	}})
}

func TestSynchronousSendsTakeTurns(t *testing.T) {
	explore(t, scenario{bound: 2, room: 8, actors: map[string]steps{
		"a": {sendSync(), sendSync()},
		"b": {sendSync(), broadcast()},
		"c": {sendSync(), shutdown(2 * time.Second)},
	}})
}

func TestASynchronousSendMeetsTheEndOfAPeerThatDoesNotRead(t *testing.T) {
	explore(t, scenario{bound: 2, room: 1, actors: map[string]steps{
		"a": {sendSync(), sendSync()},
		"b": {broadcast(), sendSync()},
		"c": {closeNow()},
	}})
}

func TestSendContextBoundsItsWaitOnASynchronousSession(t *testing.T) {
	explore(t, scenario{bound: 3, actors: map[string]steps{
		"a": {sendSync()},
		"b": {sendContextSync(time.Second)},
		"c": {sleep(2 * time.Second), peerReads(4)},
	}})
}

func TestAHeartbeatOnASynchronousSessionMeetsItsEnd(t *testing.T) {
	explore(t, scenario{bound: 1, room: 1, config: beats, actors: map[string]steps{
		"a": {sleep(interval), sendSync()},
		"b": {sleep(interval), shutdown(time.Second)},
	}})
}

func TestACodecThatOnlyKnowsIOKeepsItsFramesWhole(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 2, room: 2, plain: true, actors: map[string]steps{
		"a": {send(), sendContext(ever)},
		"b": {send()},
		"c": {peerReads(1), shutdown(2 * time.Second)},
	}})
}

func TestTheFirstWhoNeedsACodecMakesItForAll(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 2, room: 8, late: true, actors: map[string]steps{
		"a": {send()},
		"b": {broadcast(), send()},
		"c": {closeNow()},
	}})
}

func TestSendContextWaitsWhereOthersDropTheOldest(t *testing.T) {
	explore(t, scenario{bound: 1, queue: 2, room: 1, config: onFull(libnet.DropOldest), actors: map[string]steps{
		"a": {sendContext(500 * time.Millisecond), send()},
		"b": {send(), sendContext(ever)},
		"c": {peerReads(1), closeNow()},
	}})
}

func TestSynchronousSendersOfACodecThatOnlyKnowsIOMeetTheEnd(t *testing.T) {
	explore(t, scenario{bound: 1, plain: true, room: 2, actors: map[string]steps{
		"a": {sendSync(), sendContextSync(time.Second)},
		"b": {sendContextSync(2 * time.Second), broadcast()},
		"c": {sleep(3 * time.Second), peerReads(2), closeNow()},
	}})
}

func TestAServersShutdownMeetsAReceiverThatAnswersAndThePeersEnd(t *testing.T) {
	explore(t, scenario{bound: 0, queue: 4, room: 3, actors: map[string]steps{
		"a": {receive(), send(), send(), receive(), send()},
		"b": {peerSends(3), peerEnds()},
		"c": {send(), serverShutdown(2 * time.Second)},
	}})
}
