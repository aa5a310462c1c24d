package eventloop

import (
	"testing"
	"time"
)

func TestEachTickTakesItsPeriod(t *testing.T) {
	const period, n = 2 * time.Millisecond, 20
	tick := newTick(period)
	defer tick.close()
	if tick.file == nil {
		t.Skip("the kernel has no timerfd")
	}
	began := time.Now()
	for range n {
		tick.wait()
	}
	if took := time.Since(began); took < n*period {
		t.Errorf("%d ticks of %v came within %v", n, period, took)
	}
}

func TestAWaitForATickEndsWhenThatIsClosed(t *testing.T) {
	tick := newTick(time.Hour)
	done := make(chan bool)
	go func() {
		tick.wait()
		close(done)
	}()
	time.Sleep(time.Millisecond)
	tick.close()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not")
	}
}

func TestWithoutATimerOfTheKernelsTheRuntimesTicks(t *testing.T) {
	var tick tick
	defer tick.close()
	began := time.Now()
	tick.wait()
	if took := time.Since(began); took < watchPeriod {
		t.Errorf("a tick came after %v", took)
	}
}
