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
			w.noteHandOver()
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
			w.noteHandOver()
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
