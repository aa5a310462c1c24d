package trial

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

func TestAnAuditFindsWhatIsLostTwiceOrOutOfOrder(t *testing.T) {
	t.Parallel()
	type figures struct{ lost, twice, disordered int }
	for name, test := range map[string]struct {
		acked, heard []int
		want         figures
	}{
		"as it should be":                    {[]int{1, 2, 3}, []int{1, 2, 3}, figures{}},
		"one lost":                           {[]int{1, 2, 3}, []int{1, 3}, figures{lost: 1}},
		"all lost":                           {[]int{1, 2, 3}, nil, figures{lost: 3}},
		"one twice":                          {[]int{1, 2, 3}, []int{1, 2, 2, 3}, figures{twice: 1}},
		"an old one again":                   {[]int{1, 2, 3}, []int{1, 2, 3, 1}, figures{twice: 1}},
		"two in the wrong order":             {[]int{1, 2, 3}, []int{1, 3, 2}, figures{disordered: 1}},
		"one that nobody was told is stored": {[]int{1, 3}, []int{1, 2, 3}, figures{}},
		"everything at once":                 {[]int{1, 2, 3, 4}, []int{3, 1, 3}, figures{lost: 2, twice: 1, disordered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			talks := newTalks(nil)
			talk := talks.next()
			for _, n := range test.acked {
				talk.begin(1, n)
				talk.acknowledge(1, n, []int64{2})
			}
			for _, n := range test.heard {
				talk.hear(1, 2, n)
			}
			a := talk.Audit()
			if got := (figures{a.Lost, a.Twice, a.Disordered}); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			if a.OK() != (test.want == figures{}) {
				t.Errorf("ok: %v", a.OK())
			}
		})
	}
	if (Audit{}).OK() {
		t.Error("silence is taken for success")
	}
	if (Audit{Acked: 1, Failed: errors.New("x")}).OK() {
		t.Error("a message that could not be sent is taken for none")
	}
}

func TestTheReportFailsWithOneBrokenPromise(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	r := NewReport(&lines, nil, 18)
	r.Promise(true, "first", "%d of %d", 1, 1)
	if err := r.Sum(time.Second); err != nil {
		t.Error(err)
	}
	r.Promise(false, "second", "none")
	if err := r.Sum(time.Second); !errors.Is(err, ErrBroken) {
		t.Errorf("the sum of a broken promise: %v", err)
	}
	const want = `PASS  first              1 of 1
PASS  all 1 promises were kept, in 1s
FAIL  second             none
FAIL  1 of 2 promises were not kept, in 1s
`
	if lines.String() != want {
		t.Errorf("got\n%swant\n%s", &lines, want)
	}
}

func TestAnswersAreCountedAndTheLastOneIsFound(t *testing.T) {
	t.Parallel()
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	a := &Answers{all: []answer{
		{asked: at(-5), server: "a"},
		{asked: at(1), server: "b"},
		{asked: at(2), server: "a"},
		{asked: at(3), err: errors.New("none")},
		{asked: at(4), server: "b"},
	}}
	if got := a.LastNamed("a", began); got != 2*time.Millisecond {
		t.Errorf("a was last named after %v", got)
	}
	if got := a.LastNamed("a", at(3)); got != 0 {
		t.Errorf("a was named %v after it was last named", got)
	}
	if asked, failed := a.Between(began, at(3)); asked != 3 || failed != 1 {
		t.Errorf("%d answers, %d failed; want 3 and 1", asked, failed)
	}
}

func TestNumbersHaveCommas(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 1000001: "1,000,001"} {
		if got := Thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
