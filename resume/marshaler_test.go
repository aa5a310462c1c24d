package resume_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/libnet-go/libnet/resume"
)

// kept answers memory of its own.
type kept struct{ answer []byte }

func (k kept) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	if msg == "kept" {
		return k.answer, nil
	}
	return fmt.Append(dst, msg), nil
}

func TestWhatAMarshalerKeepsIsNotWrittenTo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := kept{append(make([]byte, 0, 100), "kept"...)}
		r := newRig(t, func(s *resume.Server) {})
		near, _ := r.start(&resume.Client{Config: resume.Config{Marshaler: k}})
		for range 20 {
			if err := errors.Join(near.Send("kept"), near.Send("other")); err != nil {
				t.Error(err)
			}
		}
		if string(k.answer) != "kept" {
			t.Errorf("it is %q", k.answer)
		}
	})
}
