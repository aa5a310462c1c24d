package main

import (
	"encoding/csv"
	"os"
	"strconv"
	"time"
)

// A sample is what both processes use at a moment.
type sample struct {
	At     time.Duration // since the beginning
	Round  int
	Quiet  bool // between two lives of the servers, when nothing is under way
	Open   int  // sessions of all servers
	Server usage
	Client usage
}

// A record keeps the samples and writes each to a file.
type record struct {
	file    *os.File
	out     *csv.Writer
	samples []sample
}

func newRecord(file string) (*record, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	r := &record{file: f, out: csv.NewWriter(f)}
	return r, r.write("seconds", "round", "quiet", "open",
		"server_rss", "server_heap", "server_goroutines", "server_descriptors", "server_cpu",
		"client_rss", "client_heap", "client_goroutines", "client_descriptors", "client_cpu")
}

func (r *record) add(s sample) error {
	r.samples = append(r.samples, s)
	line := []string{seconds(s.At), strconv.Itoa(s.Round), strconv.FormatBool(s.Quiet), strconv.Itoa(s.Open)}
	for _, u := range []usage{s.Server, s.Client} {
		line = append(line, strconv.FormatInt(u.RSS, 10), strconv.FormatInt(u.Heap, 10),
			strconv.Itoa(u.Goroutines), strconv.Itoa(u.Descriptors), seconds(u.CPU))
	}
	return r.write(line...)
}

// write leaves the line in the file at once: a soak that is killed has its samples.
func (r *record) write(line ...string) error {
	if err := r.out.Write(line); err != nil {
		return err
	}
	r.out.Flush()
	return r.out.Error()
}

func (r *record) close() error { return r.file.Close() }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) }
