package usercode_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/internal/usercode"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

type speaks func() string

func (s speaks) Error() string { return s() }

type spells func() string

func (s spells) String() string { return s() }

type number int

// A formats has a method that package fmt asks before all others.
type formats int

const (
	panicsWithItself formats = iota
	panicsWithANumber
	hangs
	endsItsGoroutine
)

func (f formats) Format(fmt.State, rune) {
	switch f {
	case panicsWithItself:
		panic(f)
	case panicsWithANumber:
		panic(7)
	case hangs:
		time.Sleep(time.Hour)
	}
	runtime.Goexit()
}

type circle struct{ self any }

func TestAPanicsValueHasATextWhateverItsMethodsDo(t *testing.T) {
	round := &circle{}
	round.self = round
	synctest.Test(t, func(t *testing.T) {
		var itself speaks
		itself = func() string { panic(itself) }
		for what, c := range map[string]struct {
			value any
			want  string
		}{
			"a string":                    {"oh", "oh"},
			"an error":                    {errors.New("oh"), "oh"},
			"a Stringer":                  {spells(func() string { return "oh" }), "oh"},
			"a number":                    {number(7), "7"},
			"nil":                         {nil, "<nil>"},
			"what contains itself":        {round, "a *usercode_test.circle"},
			"an error without a word":     {speaks(func() string { return "" }), ""},
			"an error that panics":        {speaks(func() string { panic("oh") }), "a usercode_test.speaks without a text"},
			"one that panics with itself": {itself, "a usercode_test.speaks without a text"},
			"one that hangs":              {speaks(func() string { time.Sleep(time.Hour); return "" }), "a usercode_test.speaks without a text"},
			"one that ends its goroutine": {speaks(func() string { runtime.Goexit(); return "" }), "a usercode_test.speaks without a text"},
			"a Format that panics":        {panicsWithANumber, "%!v(PANIC=Format method: 7)"},
			"one that does with itself":   {panicsWithItself, "a usercode_test.formats"},
			"a Format that hangs":         {hangs, "a usercode_test.formats"},
			"one that ends the goroutine": {endsItsGoroutine, "a usercode_test.formats"},
			"a Stringer that panics":      {spells(func() string { panic("oh") }), "a usercode_test.spells"},
		} {
			begun := time.Now()
			if got := usercode.Text(c.value); got != c.want {
				t.Errorf("%s: %q, want %q", what, got, c.want)
			}
			if took := time.Since(begun); took > usercode.Patience {
				t.Errorf("%s took %v", what, took)
			}
		}
		time.Sleep(2 * time.Hour) // what hangs has returned
	})
}

func TestAnAnswerThatDoesNotComeIsNone(t *testing.T) {
	if got, ok := usercode.Answer(func() string { return strings.Repeat("x", 3) }); got != "xxx" || !ok {
		t.Errorf("%q, %v", got, ok)
	}
	if got, ok := usercode.Answer(func() int { panic("oh") }); got != 0 || ok {
		t.Errorf("%d, %v", got, ok)
	}
}
