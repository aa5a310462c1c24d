package main

import (
	"math"
	"slices"
	"time"
)

// A Result is what one window measured, or the field-by-field median of several rounds of it.
// "Message" is the row's unit: a message, a connection or a delivery. 0 means not measured.
type Result struct {
	Count      float64 `json:"count"`                       // messages in the window
	Seconds    float64 `json:"seconds"`                     // length of the window
	Rate       float64 `json:"rate"`                        // messages a second
	CPU        float64 `json:"cpu_ns"`                      // CPU time of the server process a message
	P50        float64 `json:"p50_ns"`                      // of a window of messages, from its write to its last reply
	P99        float64 `json:"p99_ns"`                      //
	Max        float64 `json:"max_ns"`                      //
	CalmP99    float64 `json:"calm_p99_ns,omitempty"`       // the same before the row's disturbance
	RSS        float64 `json:"rss_bytes"`                   // of the server process at the window's end
	SessionRSS float64 `json:"session_rss_bytes,omitempty"` // after memory was given back to the system
	KeptRSS    float64 `json:"kept_rss_bytes,omitempty"`    // the same before that
	Error      string  `json:"error,omitempty"`
}

// numbers are the fields that have a median.
func (r *Result) numbers() []*float64 {
	return []*float64{&r.Count, &r.Seconds, &r.Rate, &r.CPU, &r.P50, &r.P99, &r.Max, &r.CalmP99, &r.RSS, &r.SessionRSS, &r.KeptRSS}
}

// A sample is what a client saw in one window.
type sample struct {
	count   int
	elapsed time.Duration
	times   []time.Duration // one a window of messages; in no order
}

// result sorts the sample's times.
func (s sample) result(serverCPU time.Duration, rss int64) Result {
	if s.count == 0 || len(s.times) == 0 {
		return Result{Error: "not one message in the window"}
	}
	slices.Sort(s.times)
	count := float64(s.count)
	return Result{
		Count:   count,
		Seconds: s.elapsed.Seconds(),
		Rate:    count / s.elapsed.Seconds(),
		CPU:     float64(serverCPU) / count,
		P50:     float64(percentile(s.times, 0.50)),
		P99:     float64(percentile(s.times, 0.99)),
		Max:     float64(s.times[len(s.times)-1]),
		RSS:     float64(rss),
	}
}

// percentile is the smallest of the sorted times that a share p of them does not exceed
// (nearest rank).
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// median is the field-by-field median of the rounds that measured the field. The first error, if
// any, stands beside it: a server that stalls in one round of three must not look like one that
// never does.
func median(rounds []Result) Result {
	var out Result
	columns := make([][]float64, len(out.numbers()))
	for _, r := range rounds {
		if out.Error == "" {
			out.Error = r.Error
		}
		for i, f := range r.numbers() {
			if *f != 0 {
				columns[i] = append(columns[i], *f)
			}
		}
	}
	for i, f := range out.numbers() {
		*f = middle(columns[i])
	}
	return out
}

// middle is the median: the mean of the two in the middle where there is no single one.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}
