package codec_test

import (
	"encoding/json"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

type user struct {
	Name string `json:"name"`
	Age  int    `json:"age,omitempty"`
}

// textual is a message that encodes itself.
type textual string

func (t textual) MarshalJSON() ([]byte, error) {
	if t == "" {
		return nil, errUser
	}
	return []byte(t), nil
}

func TestJSONIsCompactUnescapedAndWithoutALineFeed(t *testing.T) {
	c := pure(codec.New(codec.Lines, codec.JSON))
	raw := json.RawMessage(`{ "as" : "it is", "<&>":1 }`)
	for _, row := range []struct {
		msg  any
		want string
	}{
		{user{Name: "a<b>&c"}, `{"name":"a<b>&c"}`},
		{&user{Name: "two\nlines", Age: 3}, `{"name":"two\nlines","age":3}`},
		{map[string]any{"b": nil, "a": 1}, `{"a":1,"b":null}`},
		{[]int{}, `[]`},
		{"", `""`},
		{"null", `"null"`},
		{false, `false`},
		{0, `0`},
		{raw, string(raw)},
		{&raw, string(raw)},
		{json.RawMessage("null"), `null`},
		{textual("[ 1 ]"), `[1]`},
	} {
		if frame := mustAppend(t, c, []byte("before "), row.msg); string(frame) != "before "+row.want+"\n" {
			t.Errorf("%v: %q, want %q", row.msg, frame, row.want)
		}
	}
}

// L2: a message that was a nil inside ended the process of whoever used it.
func TestL2AJSONMessageThatIsNothingIsAnError(t *testing.T) {
	c := pure(codec.New(codec.Uint16BE, codec.JSON))
	for _, msg := range []any{
		nil, (*user)(nil), (*json.RawMessage)(nil), json.RawMessage(nil), json.RawMessage(""),
		map[string]int(nil), []int(nil), new(*user), textual("null"),
	} {
		if frame, err := c.AppendFrame([]byte("before"), msg); !errors.Is(err, libnet.ErrEncode) || string(frame) != "before" {
			t.Errorf("%T: %q, %v", msg, frame, err)
		}
	}
}

func TestWhatJSONCannotEncodeIsAnErrorWithItsCause(t *testing.T) {
	c := pure(codec.New(codec.Uint16BE, codec.JSON))
	var unsupportedType *json.UnsupportedTypeError
	if _, err := c.AppendFrame(nil, func() {}); !errors.Is(err, libnet.ErrEncode) || !errors.As(err, &unsupportedType) {
		t.Errorf("a function: %v", err)
	}
	var unsupportedValue *json.UnsupportedValueError
	if _, err := c.AppendFrame(nil, math.Inf(1)); !errors.Is(err, libnet.ErrEncode) || !errors.As(err, &unsupportedValue) {
		t.Errorf("infinity: %v", err)
	}
	_, err := c.AppendFrame(nil, textual(""))
	wantError(t, "a MarshalJSON that fails", err, libnet.ErrEncode, errUser)
	for _, raw := range []string{"{", "1 2", "\n", "nul"} {
		_, err := c.AppendFrame(nil, json.RawMessage(raw))
		wantError(t, raw, err, libnet.ErrEncode)
	}
	if frame := mustAppend(t, c, nil, user{Name: "after them"}); string(frame[2:]) != `{"name":"after them"}` {
		t.Errorf("after the errors: %q", frame)
	}
}

func TestJSONOverTheBoundIsTooLarge(t *testing.T) {
	c := pure(codec.New(codec.Uint16BE, codec.JSON).MaxMessage(10))
	for _, msg := range []any{"123456789", json.RawMessage(`"123456789"`)} {
		_, err := c.AppendFrame(nil, msg)
		wantError(t, "11 bytes", err, libnet.ErrFrameTooLarge)
	}
	for _, msg := range []any{"12345678", json.RawMessage(`"12345678"`)} {
		mustAppend(t, c, nil, msg)
	}
}

func TestARawMessageOfTwoLinesIsNotSentAsALine(t *testing.T) {
	_, err := pure(codec.New(codec.Lines, codec.JSON)).AppendFrame(nil, json.RawMessage("[1,\n2]"))
	wantError(t, "two lines", err, libnet.ErrEncode)
}

func TestGoroutinesEncodeJSONAtTheSameTime(t *testing.T) {
	c := pure(codec.New(codec.Lines, codec.JSON))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			want, _ := json.Marshal(user{Name: "n", Age: i + 1})
			for range 200 {
				if frame, err := c.AppendFrame(nil, user{Name: "n", Age: i + 1}); err != nil || string(frame) != string(want)+"\n" {
					t.Errorf("%q, %v", frame, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// askedError is a user's whose methods panic where there is none of it.
type askedError struct{ text string }

func (e *askedError) Error() string { return e.text }
func (e *askedError) Unwrap() error { return errors.New(e.text) }

type unsoundJSON struct{}

func (unsoundJSON) MarshalJSON() ([]byte, error) { return nil, (*askedError)(nil) }

func TestJSONRefusesAMessageWhoseErrorCannotBeAsked(t *testing.T) {
	out, err := codec.JSON.AppendMarshal([]byte("before"), unsoundJSON{})
	if string(out) != "before" || !errors.Is(err, libnet.ErrEncode) || err.Error() == "" {
		t.Errorf("AppendMarshal = %q, %v; want ErrEncode", out, err)
	}
}
