package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

func TestEveryFaultHasANameOfItsOwnThatFitsALineAndLimits(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, f := range catalogue {
		if known[f.name] || len(f.name) > nameWidth || strings.ContainsAny(f.name, " ,") {
			t.Errorf("%q is no name", f.name)
		}
		known[f.name] = true
		if f.about == "" || f.do == nil || f.silence <= 0 || f.wait < f.silence && f.wait < noticed {
			t.Errorf("%s is not complete", f.name)
		}
	}
}

func TestAFindingIsBrokenByOneFigureBeyondItsLimit(t *testing.T) {
	t.Parallel()
	f := &finding{}
	f.note("%d users", 3)
	f.most("back after", time.Second, time.Second)
	f.check(true, "all there")
	if f.broken {
		t.Error("what is within its limits is taken for broken")
	}
	f.most("longest wait", 1234*time.Millisecond, time.Second)
	f.check(true, "all there")
	if !f.broken {
		t.Error("what is beyond its limit is not found")
	}
	const want = "3 users; back after 1s (at most 1s); all there; longest wait 1.23s (at most 1s); all there"
	if f.String() != want {
		t.Errorf("got  %s\nwant %s", f, want)
	}
}

func TestFaultsAreChosenInTheOrderOfTheCatalogue(t *testing.T) {
	t.Parallel()
	first, second := catalogue[0].name, catalogue[1].name
	got, err := chosen(second + "," + first)
	if err != nil || len(got) != 2 || got[0].name != first || got[1].name != second {
		t.Errorf("%v, %v", got, err)
	}
	if all, err := chosen(""); err != nil || len(all) != len(catalogue) {
		t.Errorf("%d of %d, %v", len(all), len(catalogue), err)
	}
	if _, err := chosen("x"); err == nil {
		t.Error("a fault is chosen that there is not")
	}
}
