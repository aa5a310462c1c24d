package ws_test

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// A mode is how connections become sessions.
type mode string

const (
	handlerMode        mode = "a ws.Handler"
	protocolServe      mode = "ws.Protocol and Serve"
	protocolEvents     mode = "ws.Protocol and ServeMessages"
	messageHandlerMode mode = "a ws.MessageHandler"
)

var allModes = []mode{handlerMode, protocolServe, protocolEvents, messageHandlerMode}

var (
	// currentMode is that of the servers that start makes. Only inMode changes it, and no test runs in parallel.
	currentMode = handlerMode

	// compressing has the servers that start makes agree to compression, and the rig's clients offer it.
	compressing = false
)

// suiteCompressFrom is the size of the messages that are compressed where compressing is set. The race detector has
// pools forget what they are given, and a compressor for each of the many small messages would take minutes.
func suiteCompressFrom() int {
	if testkit.Race {
		return 4 << 10
	}
	return 1
}

// inMode runs test with servers of a mode.
func inMode(t *testing.T, m mode, test func(t *testing.T)) {
	t.Run(string(m), func(t *testing.T) {
		before := currentMode
		currentMode = m
		defer func() { currentMode = before }()
		test(t)
	})
}

// eachMode runs test for every mode.
func eachMode(t *testing.T, test func(t *testing.T)) {
	for _, m := range allModes {
		inMode(t, m, test)
	}
}

// eachProtocolMode runs test for servers that serve WebSockets themselves.
func eachProtocolMode(t *testing.T, test func(t *testing.T)) {
	inMode(t, protocolServe, test)
	inMode(t, protocolEvents, test)
}

// startProtocol makes r a server that serves WebSockets itself.
func startProtocol(t testing.TB, r *rig, set setup) {
	r.Server = libnet.NewServer(set.listener, ws.Protocol(set.protocol, set.options), set.queue)
	r.Logger, r.TLSConfig = slog.New(slog.DiscardHandler), layer
	if set.config != nil {
		set.config(r.Server)
	}
	served := make(chan error, 1)
	serve := r.serving(set.handler)
	go func() { served <- serve() }()
	t.Cleanup(func() {
		r.Stop()
		if err := <-served; err != libnet.ErrServerClosed {
			t.Errorf("serving ended with %v", err)
		}
	})
}

// serving runs handlers that only echo or sink in event mode, if that is the mode; others have no counterpart there.
func (r *rig) serving(h libnet.Handler) (serve func() error) {
	messages := messageHandler(h)
	if currentMode == protocolServe || messages == nil {
		return func() error {
			return r.Server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
				r.sessions <- s
				h.ServeSession(s)
			}))
		}
	}
	r.noteSessions()
	return func() error { return r.ServeMessages(messages) }
}

// noteSessions has r know each session that is admitted.
func (r *rig) noteSessions() {
	admit := r.OnSession
	r.OnSession = func(s *libnet.Session) error {
		if admit != nil {
			if err := admit(s); err != nil {
				return err
			}
		}
		r.sessions <- s
		return nil
	}
}

// webHandler makes sessions that have h run them, or in event mode the counterpart of h.
func (r *rig) webHandler(h libnet.Handler, o *ws.HandlerOptions) http.Handler {
	if messages := messageHandler(h); currentMode == messageHandlerMode && messages != nil {
		r.noteSessions()
		return ws.MessageHandler(r.Server, messages, o)
	}
	return ws.Handler(r.Server, libnet.HandlerFunc(func(s *libnet.Session) {
		r.sessions <- s
		h.ServeSession(s)
	}), o)
}

func messageHandler(h libnet.Handler) libnet.MessageHandler {
	switch reflect.ValueOf(h).Pointer() {
	case reflect.ValueOf(echo).Pointer():
		return libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { s.SendContext(context.Background(), msg) })
	case reflect.ValueOf(sink).Pointer():
		return libnet.MessageHandlerFunc(func(*libnet.Session, []byte) {})
	}
	return nil
}

// What holds for a Handler's sessions holds for those of a MessageHandler, and of a server that serves WebSockets
// itself, in both modes; what is different, doc.go says.
func TestTheSuites(t *testing.T) {
	inModes(t, []mode{protocolServe, protocolEvents, messageHandlerMode}, slices.Concat(suite, plainSuite))
}

// What holds for sessions holds for those whose messages are compressed.
func TestTheSuitesWithCompression(t *testing.T) {
	testkit.Slow(t)
	compressing = true
	defer func() { compressing = false }()
	modes := allModes
	if testkit.Race {
		modes = []mode{handlerMode, protocolEvents}
	}
	inModes(t, modes, slices.Concat(suite, plainSuite))
}

// inModes runs tests for each mode.
func inModes(t *testing.T, modes []mode, tests []func(*testing.T)) {
	for _, m := range modes {
		inMode(t, m, func(t *testing.T) {
			for _, test := range tests {
				t.Run(nameOf(test), test)
			}
		})
	}
}

func nameOf(test func(*testing.T)) string {
	name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
	return name[strings.LastIndexByte(name, '.')+1:]
}

var suite = []func(*testing.T){
	TestShutdownOfTheServerLosesNothing,
	TestTheCloseCodeTellsThePeerWhy,
	TestThePeerIsToldTheReasonThatWasChosen,
	TestAHandlerThatPanicsEndsItsSessionOnly,
	TestWhatAHandlerQueuedIsDeliveredWhenItReturns,
	TestWhatAPeerDoesWrongEndsWithOneCloseFrame,
	TestAClaimedLengthAllocatesNothing,
	TestAPeerThatGoesOnSendingSeesTheCloseCode,
	TestAMessageThatTheClosingCutsIsNotAnOrderlyEnd,
	TestAPeersReasonThatIsRightIsThatOfTheSession,
	TestAMessageOverTheLimitEndsTheSession,
	TestTheDefaultLimitIsThatOfOtherConnections,
	TestForeignOriginsAreRefusedUnlessAllowed,
	TestARequestThatIsNoWebSocketIsAnswered,
	TestSubprotocolsAreAgreedOn,
	TestASubprotocolIsSpelledAsWhoAsksHasSpelledIt,
	TestSessionsOfAServerKnowEachItsOwnAgreement,
	TestOnSessionAdmitsWebSocketsAndMayReceive,
	TestARefusalsMessageAndCodeArrive,
	TestACloseTellsItsReason,
	TestAClientIsToldWhyItWasThrownOut,
	TestALastWordArrivesAndThenItsReason,
	TestAMessageThatTheFramingCannotCarryIsRefusedBothWays,
	TestAHandlerSeesTheRequestAndTheSubprotocol,
	TestDialTellsHowTheServerAnswered,
	TestDialTellsOfAnUpgradeThatIsWrong,
	TestDialWithoutADialerIsAnError,
	TestOneWebSocketMessageIsOneMessageWithoutTheServersFraming,
	TestTextMessagesCarryJSON,
	TestTextThatIsNotUTF8IsAnErrorOfSendAndOfThePeer,
	TestManyMessagesOfAllSizesArriveInOrderBothWays,
	TestLargeMessagesAreSentInFragmentsAndReceivedWhole,
	TestSendersOfManyGoroutinesDoNotMix,
	TestAnOrderlyEndOfThePeerIsEOFBehindItsLastMessage,
	TestAnotherCloseCodeOfThePeerIsTheReason,
	TestCloseIsEOFForThePeer,
	TestAddressesAreThoseOfTheConnection,
	TestShutdownOfTheClientDeliversWhatItQueued,
	TestAcceptedIsReceivedOrReported,
}

// plainSuite is not run over TLS: these tests are about the connection itself, or have a clock of their own, which
// stands still while a goroutine waits for one of crypto/tls's locks.
var plainSuite = []func(*testing.T){
	TestWhatAPeerDoesWrongEndsItsSessionAtOnce,
	TestNothingFollowsTheCloseFrame,
	TestDialFailsWithinItsBoundAndLeavesNothing,
	TestMessagesThatArrivedBeforeTheEndAreReceivedByASlowHandler,
	TestMessagesThatArrivedSurviveAFailedSend,
	TestMessagesThatArriveAsASendFailsAreReceived,
	TestAConnectionThatEndsWithinAMessageIsNeverAMessage,
	TestAMessageThatDoesNotEndRunsIntoTheFrameTimeout,
	TestALateMessageArrivesWhole,
	TestASilentPeerRunsIntoItsTimeouts,
	TestAPeerThatVanishedIsFound,
	TestAPeerThatReadsSlowlyLives,
	TestASlowConsumerIsClosedWhenThePolicySaysSo,
	TestShutdownWaitsForThePeerNoLongerThanLinger,
	TestCloseDoesNotWaitForAPeerThatDoesNotRead,
	TestASessionThatIsNoWebSocketHasNoRequest,
	TestAConnectionThatGoesWrongEndsItsSessionOnly,
	TestMessagesKeepToTheRateLimit,
	TestFramesThatAreNoMessagesKeepToTheRateLimit,
	TestWhoFloodsIsToldWhereTheRateLimitSaysEnd,
	TestNoShutdownWaitsForThePauseOfAFlood,
}
