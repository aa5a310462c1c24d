package eventloop

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestOfAllWhoComeOneServesAndLooksAgain(t *testing.T) {
	var s State
	if s.Started() {
		t.Error("a State is started before Start")
	}
	s.Start(false)
	if !s.Started() || s.ReadAll() {
		t.Errorf("after Start(false): started %v, read all %v", s.Started(), s.ReadAll())
	}
	for range 2 {
		if s.begin() {
			t.Error("somebody began while the one who had started still served")
		}
	}
	if !s.end() {
		t.Error("the one who served was not told of the two that came")
	}
	if s.end() {
		t.Error("they were told twice")
	}
	if !s.begin() {
		t.Error("nobody may begin when nobody serves")
	}
	if s.release() || !s.begin() {
		t.Error("release kept the source, or told of nobody")
	}
	s.begin()
	if !s.release() || !s.begin() {
		t.Error("release told nothing of one who came, or kept the source")
	}
	if !s.Started() || s.end() {
		t.Error("release kept the one who came")
	}
}

func TestReadAllStays(t *testing.T) {
	var s State
	s.Start(true)
	for range 2 {
		s.begin()
		s.end()
		s.release()
		if !s.ReadAll() {
			t.Fatal("a short read counts as the last again")
		}
	}
}

// What arrived before somebody came is served after they came, by them or by the one who serves already.
func TestNothingThatArrivesWhileSomebodyServesIsOverlooked(t *testing.T) {
	var s State
	s.Start(false)
	s.end()
	var arrived, served, serving atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10_000 {
				arrived.Add(1)
				if !s.begin() {
					continue
				}
				for again := true; again; again = s.end() {
					if serving.Add(1) != 1 {
						t.Error("two serve at a time")
					}
					served.Store(arrived.Load())
					serving.Add(-1)
				}
			}
		})
	}
	wg.Wait()
	if served.Load() != arrived.Load() {
		t.Errorf("%d of %d were served", served.Load(), arrived.Load())
	}
}

func TestNobodyBeginsWhileASourceIsHeldAndWhatComesIsNotForgotten(t *testing.T) {
	var s State
	s.Start(false)
	if s.Hold() {
		t.Error("held for good while somebody serves")
	}
	s.begin()
	if s.end() {
		t.Error("who serves goes on though the source is held")
	}
	if !s.Hold() || s.begin() {
		t.Error("somebody serves a source that is held")
	}
	s.Unhold()
	if !s.begin() || !s.end() {
		t.Error("what came while the source was held is forgotten")
	}
}
