package trial

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ErrBroken is what a trial ends with that has found a promise broken.
var ErrBroken = errors.New("not all promises were kept")

// A Report is the lines of a trial. It is one goroutine's.
type Report struct {
	w                     io.Writer
	ended                 <-chan struct{} // by Ctrl-C: what is found from then on means nothing
	width                 int             // of a name
	kept, broken, skipped int
}

// NewReport writes to w until ended is closed. Names shorter than width are filled up to it.
func NewReport(w io.Writer, ended <-chan struct{}, width int) *Report {
	return &Report{w: w, ended: ended, width: width}
}

// Promise adds a line.
func (r *Report) Promise(kept bool, name, figures string, args ...any) {
	if kept {
		r.add("PASS", &r.kept, name, fmt.Sprintf(figures, args...))
	} else {
		r.add("FAIL", &r.broken, name, fmt.Sprintf(figures, args...))
	}
}

// Skip adds a line that says why something was not tried.
func (r *Report) Skip(name, why string) { r.add("skip", &r.skipped, name, "skipped: "+why) }

func (r *Report) add(verdict string, count *int, name, text string) {
	select {
	case <-r.ended:
		return
	default:
	}
	*count++
	fmt.Fprintf(r.w, "%s  %-*s %s\n", verdict, r.width, name, text)
}

// Sum adds the last line.
func (r *Report) Sum(took time.Duration) error {
	promises, skipped := r.kept+r.broken, ""
	if r.skipped > 0 {
		skipped = fmt.Sprintf(", %d skipped", r.skipped)
	}
	if r.broken > 0 {
		fmt.Fprintf(r.w, "FAIL  %d of %d promises were not kept%s, in %v\n", r.broken, promises, skipped, took.Round(100*time.Millisecond))
		return ErrBroken
	}
	fmt.Fprintf(r.w, "PASS  all %d promises were kept%s, in %v\n", promises, skipped, took.Round(100*time.Millisecond))
	return nil
}

// Thousands is n with commas.
func Thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", Thousands(n/1000), n%1000)
}

// SumOf is the numbers with plus signs between them.
func SumOf(numbers []int) string {
	var texts []string
	for _, n := range numbers {
		texts = append(texts, Thousands(n))
	}
	return strings.Join(texts, " + ")
}
