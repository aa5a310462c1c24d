package libnettest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// A truth says what is wrong with the payload that a message has arrived as; nil: nothing.
type truth func(payload []byte) error

func exactly(want string) truth {
	return func(payload []byte) error {
		if string(payload) != want {
			return fmt.Errorf("arrived as %.64q, want %.64q", payload, want)
		}
		return nil
	}
}

// asJSONOf is for a string, or a []byte of that text, that arrives as its JSON, of which there is more than one form.
func asJSONOf(text string, isString bool) truth {
	return func(payload []byte) error {
		var err error
		var got string
		var bytes []byte
		if isString {
			err = json.Unmarshal(payload, &got)
		} else {
			err = json.Unmarshal(payload, &bytes)
			got = string(bytes)
		}
		if err != nil || got != text {
			return fmt.Errorf("arrived as %.64q, which is not the JSON of %.64q", payload, text)
		}
		return nil
	}
}

// plainBytes returns the bytes of a message that is nothing else.
func plainBytes(msg any) ([]byte, bool) {
	switch m := msg.(type) {
	case []byte:
		return m, true
	case string:
		return []byte(m), true
	}
	return nil, false
}

// likenesses are what payloads of one message may have in common, the strongest first. An encoding that
// goes through a map has its parts in another order each time, one with a time stamp differs within its length.
var likenesses = []struct {
	name  string
	alike func(a, b []byte) bool
}{
	{"the same bytes", bytes.Equal},
	{"the same JSON", sameJSON},
	{"the same bytes in any order", func(a, b []byte) bool { return bytes.Equal(sorted(a), sorted(b)) }},
	{"the same length", func(a, b []byte) bool { return len(a) == len(b) }},
}

// mayVary is the first likeness that a codec which damages a frame now and then would have, too.
const mayVary = 3

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func sorted(p []byte) []byte {
	p = bytes.Clone(p)
	slices.Sort(p)
	return p
}

// learn finds the truth of a message that only its codec can read from what it has arrived as: whatever all of
// these have in common must hold for the next, too.
func learn(arrived [][]byte) (truth, error) {
	for i, l := range likenesses {
		if i == mayVary {
			if err := damaged(arrived); err != nil {
				return nil, err
			}
		}
		first := arrived[0]
		if slices.ContainsFunc(arrived, func(p []byte) bool { return !l.alike(first, p) }) {
			continue
		}
		return func(payload []byte) error {
			if !l.alike(first, payload) {
				return fmt.Errorf("arrived as %.64q and before as %.64q, always with %s", payload, first, l.name)
			}
			return nil
		}, nil
	}
	return func([]byte) error { return nil }, nil
}

// damaged tells a codec that spoils a frame now and then from one whose payloads are meant to vary: nearly all
// have the same bytes in some order, and after another one comes such a one again. A clock does not go back, a
// nonce seldom.
func damaged(arrived [][]byte) error {
	const enough = 20
	counts := make(map[string]int)
	for _, p := range arrived {
		counts[string(sorted(p))]++
	}
	usual := ""
	for p, n := range counts {
		if n > counts[usual] {
			usual = p
		}
	}
	if len(arrived) < enough || counts[usual]*4 < len(arrived)*3 {
		return nil
	}
	var other []byte
	for _, p := range arrived {
		switch isUsual := string(sorted(p)) == usual; {
		case isUsual && other != nil:
			return fmt.Errorf("arrived %d times of %d as the like of %.64q, and now and then otherwise, as %.64q: "+
				"every message must arrive as it was sent; where that is meant, use libnettest.Expect with a Check",
				counts[usual], len(arrived), p, other)
		case !isUsual:
			other = p
		}
	}
	return nil
}

// truthOf is what the user or the message itself says of its payload; nil: neither does. got is the payload that
// it has arrived as.
func truthOf(message any, got []byte) (truth, error) {
	if expect, ok := message.(Expect); ok {
		if expect.Check != nil {
			return expect.Check, expect.Check(got)
		}
		t := exactly(string(expect.Payload))
		return t, t(got)
	}
	own, isBytes := plainBytes(message)
	if !isBytes {
		return nil, nil
	}
	_, isString := message.(string)
	exact, json := exactly(string(own)), asJSONOf(string(own), isString)
	if json(got) == nil && exact(got) != nil {
		return json, nil
	}
	if err := exact(got); err != nil {
		return nil, fmt.Errorf("%w; where that is meant, use libnettest.Expect", err)
	}
	return exact, nil
}
