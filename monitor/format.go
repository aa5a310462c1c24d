package monitor

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// count writes a whole number with a comma before each three digits.
func count(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// whole writes a level that is a number of things.
func whole(n float64) string { return count(int64(n)) }

// rate writes a number a second: with tenths up to a hundred, shortened from a million.
func rate(perSecond float64) string {
	switch {
	case math.IsNaN(perSecond):
		return "–"
	case perSecond >= 999_999.5:
		return scaled(perSecond, "")
	case perSecond >= 99.95 || perSecond == 0:
		return whole(math.Round(perSecond))
	}
	return strconv.FormatFloat(perSecond, 'f', 1, 64)
}

// share writes a number of which a fraction counts, too.
func share(n float64) string {
	if n > 0 && n < 0.95 {
		return strconv.FormatFloat(n, 'f', 3, 64)
	}
	return rate(n)
}

// size writes a number of bytes in decimal units.
func size(n any) string {
	bytes, err := strconv.ParseFloat(fmt.Sprint(n), 64)
	if err != nil || math.IsNaN(bytes) {
		return "–"
	}
	return scaled(bytes, "B")
}

func scaled(n float64, unit string) string {
	prefixes := []string{"", "k", "M", "G", "T", "P", "E"}
	i := 0
	for n >= 999.5 && i < len(prefixes)-1 {
		n /= 1000
		i++
	}
	digits := 0
	switch {
	case i > 0 && n < 9.995:
		digits = 2
	case i > 0 && n < 99.95:
		digits = 1
	}
	text := strconv.FormatFloat(n, 'f', digits, 64)
	if suffix := prefixes[i] + unit; suffix != "" {
		text += "\u00a0" + suffix
	}
	return text
}

// span writes the time between two moments in its two largest units.
func span(later, earlier time.Time) string {
	d := max(later.Sub(earlier), 0)
	units := []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.length && i < len(units)-1 {
			continue
		}
		text := fmt.Sprintf("%d\u00a0%s", d/u.length, u.name)
		if i+1 < len(units) && d/u.length < 10 {
			next := units[i+1]
			text += fmt.Sprintf("\u00a0%d\u00a0%s", d%u.length/next.length, next.name)
		}
		return text
	}
	return ""
}

// wait writes a time in seconds that is mostly shorter than one; none, or no number, as such.
func wait(seconds float64) string {
	if !(seconds > 0) {
		return "–"
	}
	ms := seconds * 1000
	switch {
	case ms < 0.0995:
		return strconv.FormatFloat(ms*1000, 'f', 0, 64) + "\u00a0µs"
	case ms < 9.995:
		return strconv.FormatFloat(ms, 'f', 2, 64) + "\u00a0ms"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + "\u00a0ms"
	}
	return strconv.FormatFloat(seconds, 'f', 1, 64) + "\u00a0s"
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// class is how bad a reason is: what every day brings, what a peer did wrong, what the program did.
func class(reason string) string {
	switch reason {
	case "eof", "closed", "server_closed", "reset", "handed_over":
		return "plain"
	case "panic", "error":
		return "bad"
	}
	return "warn"
}
