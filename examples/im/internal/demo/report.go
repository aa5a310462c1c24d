package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A report is the lines of a demonstration.
type report struct {
	w            io.Writer
	ended        <-chan struct{} // by Ctrl-C: what is found from then on means nothing
	kept, broken int
}

// promise adds a line.
func (r *report) promise(kept bool, name, figures string, args ...any) {
	select {
	case <-r.ended:
		return
	default:
	}
	verdict := "PASS"
	if kept {
		r.kept++
	} else {
		r.broken++
		verdict = "FAIL"
	}
	fmt.Fprintf(r.w, "%s  %-18s %s\n", verdict, name, fmt.Sprintf(figures, args...))
}

// sum adds the last line.
func (r *report) sum(took time.Duration) error {
	promises := r.kept + r.broken
	if r.broken > 0 {
		fmt.Fprintf(r.w, "FAIL  %d of %d promises were not kept, in %v\n", r.broken, promises, took.Round(100*time.Millisecond))
		return errBroken
	}
	fmt.Fprintf(r.w, "PASS  all %d promises were kept, in %v\n", promises, took.Round(100*time.Millisecond))
	return nil
}

// thousands is n with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// sumOf is the numbers with plus signs between them.
func sumOf(numbers []int) string {
	var texts []string
	for _, n := range numbers {
		texts = append(texts, thousands(n))
	}
	return strings.Join(texts, " + ")
}
