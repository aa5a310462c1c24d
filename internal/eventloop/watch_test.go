package eventloop

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestOnlyManyHandOversInAShortTimeSayThatHandlersBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		for range 20 {
			w.noteHandOver(0)
			if w.handlersBlock() {
				t.Fatal("single ones did")
			}
			time.Sleep(soonHandOvers/manyHandOvers + time.Millisecond)
		}
		time.Sleep(soonHandOvers)
		for i := range manyHandOvers + 1 {
			if w.handlersBlock() {
				t.Fatalf("%d of them did", i)
			}
			w.noteHandOver(0)
		}
		if !w.handlersBlock() {
			t.Fatalf("%d of them did not", manyHandOvers+1)
		}
	})
}

func TestHandlersCountAsBlockingForASecondAfterTheLastThatDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		w.noteBlocking()
		time.Sleep(detachFor / 2)
		w.noteBlocking()
		time.Sleep(detachFor - time.Nanosecond)
		if !w.handlersBlock() {
			t.Error("it ended too early")
		}
		time.Sleep(time.Nanosecond)
		if w.handlersBlock() {
			t.Error("it does not end")
		}
	})
}

func TestHandOversAmongManySourcesAreTheMachinesAndNotTheHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		for i := range 20 {
			w.noteHandOver(uint64(i) * (rarely + 1))
			if w.handlersBlock() {
				t.Fatal("one in more than", rarely, "did")
			}
			time.Sleep(time.Millisecond)
		}
		for range manyHandOvers + 1 {
			w.noteHandOver(20 * rarely)
		}
		if !w.handlersBlock() {
			t.Error("each one did not")
		}
	})
}

func TestAHandlerThatRarelyBlocksOnAGoroutineOfItsOwnSoonHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watch
		for range rarely {
			w.noteDetached(false)
		}
		w.noteDetached(true)
		if w.handlersBlock() {
			t.Error("one in", rarely+1, "counted")
		}
		for range rarely - 1 {
			w.noteDetached(false)
		}
		w.noteDetached(true)
		if !w.handlersBlock() {
			t.Error("one in", rarely, "did not count")
		}
	})
}
