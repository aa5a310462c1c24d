package glogslog

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// appendMessage leaves a message as it is unless it could be read as something else than one message.
func appendMessage(line []byte, msg string) []byte {
	if needsQuotes(msg, func(r rune) bool { return r == '=' }) || msg != strings.TrimSpace(msg) {
		return strconv.AppendQuote(line, msg)
	}
	return append(line, msg...)
}

// appendAttr appends a space, the key behind its groups, =, and the value. The attributes of a group
// follow one another; an attribute without key and value is left out, as slog asks.
func appendAttr(line []byte, group string, a slog.Attr) []byte {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range value.Group() {
			line = appendAttr(line, group, inner)
		}
		return line
	}
	if a.Key == "" && value.Equal(slog.Value{}) {
		return line
	}
	line = append(line, ' ')
	line = appendText(line, group+a.Key)
	line = append(line, '=')
	return appendText(line, text(value))
}

// appendText quotes what a reader could not tell from the rest of the line.
func appendText(line []byte, s string) []byte {
	if needsQuotes(s, func(r rune) bool { return r == '=' || r == ' ' }) {
		return strconv.AppendQuote(line, s)
	}
	return append(line, s...)
}

func needsQuotes(s string, special func(rune) bool) bool {
	return s == "" || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return r == '"' || !unicode.IsPrint(r) || special(r) })
}

func text(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		return anyText(v.Any())
	}
	return v.String()
}

// anyText must not panic, whatever the methods of v do: the log is where panics are reported.
func anyText(v any) (s string) {
	defer func() {
		if r := recover(); r != nil {
			s = "!PANIC: " + panicText(r)
			if value := reflect.ValueOf(v); value.Kind() == reflect.Pointer && value.IsNil() {
				s = "<nil>"
			}
		}
	}()
	switch v := v.(type) {
	case error:
		return v.Error()
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			return "!ERROR: " + err.Error()
		}
		return string(b)
	case []byte:
		return string(v)
	}
	return fmt.Sprintf("%+v", v)
}

// panicText is what a panic was given, or its type: a method of it may panic in its turn.
func panicText(r any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("a %T", r)
		}
	}()
	return fmt.Sprint(r)
}
