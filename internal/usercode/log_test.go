package usercode_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/internal/usercode"
)

func TestALoggerThatDoesNotReturnKeepsWhoHasALineForSomeSecondsAndThenNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log usercode.Log
		release := make(chan struct{})
		began := time.Now()
		for range 100 {
			log.Write(func() { <-release })
		}
		if took := time.Since(began); took != 8*usercode.Patience {
			t.Errorf("100 lines took %v", took)
		}
		close(release)
		synctest.Wait()
		written := false
		log.Write(func() { written = true })
		if !written {
			t.Error("a logger that has returned is not called again")
		}
	})
}

func TestALoggerMayPanicAndEndItsGoroutine(t *testing.T) {
	var log usercode.Log
	for range 100 {
		log.Write(func() { panic("on purpose") })
		log.Write(runtime.Goexit)
	}
	written := false
	log.Write(func() { written = true })
	if !written {
		t.Error("the logger is not called any more")
	}
}
