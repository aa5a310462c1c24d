package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A Report is what bench.json holds.
type Report struct {
	Machine Machine     `json:"machine"`
	Rows    []RowReport `json:"rows"`
}

// A Machine is where the rows were measured.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	OS     string `json:"os"`
}

// A RowReport is one row, measured for several servers in turn: what to compare stands together.
type RowReport struct {
	row
	About   string         `json:"about"`
	Unit    string         `json:"unit"`
	Date    time.Time      `json:"date"`
	Go      string         `json:"go"`
	Seconds float64        `json:"window_seconds"`
	Servers []ServerReport `json:"servers"`
}

// A ServerReport is one server's part of a row.
type ServerReport struct {
	Server string   `json:"server"`
	About  string   `json:"about"`
	Median Result   `json:"median"`
	Rounds []Result `json:"rounds"`
}

// server returns the server's median.
func (r RowReport) server(name string) (Result, bool) {
	i := slices.IndexFunc(r.Servers, func(s ServerReport) bool { return s.Server == name })
	if i < 0 {
		return Result{}, false
	}
	return r.Servers[i].Median, true
}

// baseOr is the server that the row's ratios are to: base, or the row's own where base was not measured.
func (r RowReport) baseOr(base string) string {
	if _, measured := r.server(base); measured || r.Base == "" {
		return base
	}
	return r.Base
}

func (r *Report) row(name string) (RowReport, bool) {
	i := slices.IndexFunc(r.Rows, func(r RowReport) bool { return r.Name == name })
	if i < 0 {
		return RowReport{}, false
	}
	return r.Rows[i], true
}

// addTo begins the row with the rounds that the report has of it. They must be of the same servers, Go and window: what
// else may have changed meanwhile, the code that is measured above all, is for the caller to know.
func (r *RowReport) addTo(report *Report) error {
	old, ok := report.row(r.Name)
	if !ok {
		return nil
	}
	sameServer := func(a, b ServerReport) bool { return a.Server == b.Server }
	if old.Go != r.Go || old.Seconds != r.Seconds || !slices.EqualFunc(old.Servers, r.Servers, sameServer) {
		return fmt.Errorf("row %s was measured with other servers, another Go or another window: measure it without -add", r.Name)
	}
	for i := range r.Servers {
		r.Servers[i].Rounds = old.Servers[i].Rounds
	}
	return nil
}

// put adds the row in the order of the rows, in place of an older measurement of it.
func (r *Report) put(row RowReport) {
	r.Rows = slices.DeleteFunc(r.Rows, func(old RowReport) bool { return old.Name == row.Name })
	r.Rows = append(r.Rows, row)
	slices.SortStableFunc(r.Rows, func(a, b RowReport) int { return position(a.Name) - position(b.Name) })
}

// position is the row's place among the rows; a row that is there no more comes last.
func position(name string) int {
	i := slices.IndexFunc(rows, func(r row) bool { return r.Name == name })
	if i < 0 {
		return len(rows)
	}
	return i
}

// load reads a report. One that is not there is empty.
func load(file string) (*Report, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &Report{}, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

const (
	reportFile = "bench.json"
	chartFile  = "bench.svg"
)

// save writes the report and its chart into dir.
func (r *Report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, reportFile), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return saveChart(r, filepath.Join(dir, chartFile))
}

// thisMachine describes it without naming it.
func thisMachine() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), OS: runtime.GOOS}
	if model := procField("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = model
	}
	var kib int
	if n, _ := fmt.Sscanf(procField("/proc/meminfo", "MemTotal"), "%d kB", &kib); n == 1 {
		m.Memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.OS += " " + strings.TrimSpace(string(release))
	}
	return m
}

// procField is the value of the first "name: value" line.
func procField(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
