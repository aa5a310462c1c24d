package monitor

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A chart's own coordinates, as page.html has them; the browser stretches them to what room there is.
const (
	chartWidth, chartHeight = 300.0, 56.0

	// A server that has been watched for less than chartShort has that for the width of its charts.
	chartShort = time.Minute

	// chartGap is the longest time without a sample that a line passes over.
	chartGap = 10 * time.Second
)

// chart is what page.html draws.
type chart struct {
	Lines []line
	Most  string  // the highest value, in words
	Span  string  // the time shown, in words
	Step  float64 // seconds from one point to the next
	End   int64   // the last point's Unix time
	Unit  string

	Middle float64 // where the values of two lines are 0; 0 with one line
}

// side is where the values of a line are drawn: from zero, where the value 0 is, to most.
type side struct {
	class      string
	zero, most float64
}

type line struct {
	Name, Class string
	Line, Area  string // SVG paths
	Values      string // a number for each point, or - where there is none
}

// A measure gets a chart's value from a sample and the one before it.
type measure func(before, s *sample) float64

// level is a measure of what a sample says alone.
func level[T int | uint64](of func(*sample) T) measure {
	return func(_, s *sample) float64 { return float64(of(s)) }
}

// perSecond is a measure of how fast a counter rose.
func perSecond(of func(*sample) uint64) measure {
	return func(before, s *sample) float64 {
		if before == nil {
			return math.NaN()
		}
		return increase(of(before), of(s)) / s.at.Sub(before.at).Seconds()
	}
}

func increase(from, to uint64) float64 { return float64(max(to, from) - from) }

// points are the samples of a chart, the last of each step of time; nil where there is none. The steps are
// those of the clock, so that a sample stays in its own while time goes on, and end with the newest sample.
type points struct {
	at   []*sample
	end  int64         // Unix time of the last point
	step time.Duration // whole seconds
	gap  time.Duration // the longest to pass over
}

func pointsOf(samples []sample) *points {
	p := &points{step: pastStep, gap: chartGap}
	width, newest := pastKept, samples[len(samples)-1].at
	if newest.Sub(samples[0].at) < chartShort {
		width, p.step = chartShort, time.Second
	}
	step := int64(p.step / time.Second)
	last := newest.Unix() / step
	p.end = last * step
	p.at = make([]*sample, int(width/p.step)+1)
	for i := range samples {
		at := len(p.at) - 1 - int(last-samples[i].at.Unix()/step)
		if at >= 0 && at < len(p.at) {
			p.at[at] = &samples[i]
		}
		if i > 0 { // the looks of a large server are further apart
			p.gap = max(p.gap, min(2*samples[i].at.Sub(samples[i-1].at), time.Minute))
		}
	}
	return p
}

// values are NaN where the measure has none.
func (p *points) values(m measure) []float64 {
	values := make([]float64, len(p.at))
	var before *sample
	for i, s := range p.at {
		values[i] = math.NaN()
		if s != nil {
			values[i] = m(before, s)
			before = s
		}
	}
	return values
}

// chart draws one or two measures, to the same scale. say puts a value in words.
func (p *points) chart(unit string, say func(float64) string, names []string, measures ...measure) chart {
	width := time.Duration(len(p.at)-1) * p.step
	c := chart{Step: p.step.Seconds(), End: p.end, Unit: unit, Span: fmt.Sprintf("last %.0f min", width.Minutes())}
	var all [][]float64
	most := 0.0
	for _, m := range measures {
		values := p.values(m)
		all = append(all, values)
		for _, v := range values {
			if v > most {
				most = v
			}
		}
	}
	c.Most = "max " + say(most)
	// Two grow away from a line in the middle, each to its side: they are often the same, and would cover one another.
	sides := []side{{"one", chartHeight - 1, 2}}
	if len(all) == 2 {
		c.Middle = chartHeight / 2
		sides = []side{{"one", c.Middle - .5, 2}, {"two", c.Middle + .5, chartHeight - 2}}
	}
	for i, values := range all {
		l := line{Class: sides[i].class, Values: numbers(values)}
		if i < len(names) {
			l.Name = names[i]
		}
		l.Line, l.Area = p.paths(values, most, sides[i])
		c.Lines = append(c.Lines, l)
	}
	return c
}

func numbers(values []float64) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(' ')
		}
		if math.IsNaN(v) {
			b.WriteByte('-')
			continue
		}
		b.WriteString(strconv.FormatFloat(v, 'g', 4, 64))
	}
	return b.String()
}

// paths draws values that reach up to most: a line, and the area between it and zero. Where nothing was measured for
// too long there is neither.
func (p *points) paths(values []float64, most float64, on side) (linePath, areaPath string) {
	var l, a strings.Builder
	step := chartWidth / float64(len(values)-1)
	run := make([]string, 0, len(values)) // the points of a stretch without a gap
	first, last := 0, -1
	end := func() {
		if len(run) == 0 {
			return
		}
		points := strings.Join(run, "L")
		fmt.Fprintf(&l, "M%sh.01", points) // a point alone is a line too short to see, with round ends
		fmt.Fprintf(&a, "M%.1f %.1fL%sL%.1f %.1fZ", float64(first)*step, on.zero, points, float64(last)*step, on.zero)
		run = run[:0]
	}
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if last < 0 || time.Duration(i-last)*p.step > p.gap {
			end()
			first = i
		}
		last = i
		y := on.zero
		if most > 0 {
			y += v / most * (on.most - on.zero)
		}
		run = append(run, fmt.Sprintf("%.1f %.1f", float64(i)*step, y))
	}
	end()
	return l.String(), a.String()
}

// lately is a measure over the last moments: from a sample rateWindow ago, or as near to that as there is.
func lately(samples []sample, m measure) float64 {
	if len(samples) < 2 {
		return math.NaN()
	}
	last := &samples[len(samples)-1]
	for _, s := range slices.Backward(samples[:len(samples)-1]) {
		if last.at.Sub(s.at) >= rateWindow {
			return m(&s, last)
		}
	}
	return m(&samples[0], last)
}
