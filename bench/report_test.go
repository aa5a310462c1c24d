package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, c := range []struct {
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{hundred, 0.50, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
		{hundred, 0, 1},
		{hundred[:1], 0.99, 1},
		{hundred[:3], 0.50, 2},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile %v of %d is %d, want %d", c.p, len(c.sorted), got, c.want)
		}
	}
}

func TestMedianIsTakenFieldByField(t *testing.T) {
	got := median([]Result{{Rate: 3, CPU: 10}, {Rate: 1, CPU: 30}, {Rate: 2, CPU: 20}})
	if want := (Result{Rate: 2, CPU: 20}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := median([]Result{{Rate: 1}, {Rate: 2}}); got.Rate != 1.5 {
		t.Errorf("median of 1 and 2 is %v", got.Rate)
	}
}

func TestMedianKeepsTheErrorAndWhatWasMeasured(t *testing.T) {
	got := median([]Result{{Rate: 2, CalmP99: 5}, {Error: "stalled", CalmP99: 7}, {Rate: 4, CalmP99: 9}})
	if want := (Result{Rate: 3, CalmP99: 7, Error: "stalled"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSampleBecomesAResult(t *testing.T) {
	s := sample{count: 8, elapsed: 2 * time.Second, times: []time.Duration{40, 10, 30, 20}}
	want := Result{Count: 8, Seconds: 2, Rate: 4, CPU: 100, P50: 20, P99: 40, Max: 40, RSS: 9}
	if got := s.result(800, 9); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (sample{}).result(1, 1); got.Error == "" {
		t.Error("an empty window is not an error")
	}
}

func sampleRow() RowReport {
	return RowReport{
		row:   row{Name: "pipelined-64x64", Kind: echoKind, Conns: 64, Window: 64, Size: 64},
		About: "a row", Unit: "message", Go: "go1.26",
		Servers: []ServerReport{
			{Server: "net", Median: Result{Rate: 200e3, CPU: 5000, P50: 12.5e6, P99: 28.5e6, RSS: 8 << 20}},
			{Server: "netpoll", Median: Result{Rate: 4e6, CPU: 250, P50: 900e3, P99: 4e6, RSS: 12 << 20}},
			{Server: "seed", Median: Result{Error: "stalled"}},
		},
	}
}

func TestTableShowsFiguresAndTheirRatios(t *testing.T) {
	var out strings.Builder
	if err := writeTable(&out, sampleRow(), "net"); err != nil {
		t.Fatal(err)
	}
	want := `
pipelined-64x64: a row
  server    msg/s  ÷ net  CPU/msg  ÷ net      p50  ÷ net      p99  ÷ net       RSS
  net       200 k   1.00  5.00 µs   1.00  12.5 ms   1.00  28.5 ms   1.00  8.00 MiB
  netpoll  4.00 M   20.0   250 ns   0.05   900 µs   0.07  4.00 ms   0.14  12.0 MiB
  seed          –      –        –      –        –      –        –      –         –
! seed: stalled
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestTheSummaryHasRatiosBesideTheBaseServersFigures(t *testing.T) {
	r := new(Report)
	r.put(sampleRow())
	r.put(RowReport{row: row{Name: "sleepers", Kind: sleepKind}, Servers: []ServerReport{
		{Server: "netpoll", Median: Result{Rate: 1000, CPU: 1, P99: 3e6, CalmP99: 2e6, Max: 4e6}},
	}})
	var out strings.Builder
	if err := writeSummary(&out, r, "net"); err != nil {
		t.Fatal(err)
	}
	want := `
| row             | figure         |     net |    seed | netpoll |
| ---             | ---            |     --: |     --: |     --: |
| pipelined-64x64 | msg/s          |   200 k | stalled |  20.0 × |
| pipelined-64x64 | CPU/msg        | 5.00 µs | stalled |  0.05 × |
| pipelined-64x64 | p50            | 12.5 ms | stalled |  0.07 × |
| pipelined-64x64 | p99            | 28.5 ms | stalled |  0.14 × |
| sleepers        | p99 without    |         |         | 2.00 ms |
| sleepers        | with           |         |         | 3.00 ms |
| sleepers        | with ÷ without |         |         |    1.50 |
| sleepers        | longest        |         |         | 4.00 ms |
| sleepers        | msg/s          |         |         |  1.00 k |
| sleepers        | CPU/msg        |         |         | 1.00 ns |
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestTableHasNoRatiosWithoutItsBase(t *testing.T) {
	var out strings.Builder
	if err := writeTable(&out, sampleRow(), "absent"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "1.00  ") || !strings.Contains(out.String(), "200 k") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestADisturbedRowShowsHowOftenItsP99Fits(t *testing.T) {
	r := RowReport{row: row{Name: "sleepers", Kind: sleepKind}, Servers: []ServerReport{
		{Server: "net", Median: Result{Rate: 1, CPU: 1, P99: 3e6, CalmP99: 2e6, Max: 4e6}},
	}}
	var out strings.Builder
	if err := writeTable(&out, r, "net"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "2.00 ms  3.00 ms            1.50  4.00 ms") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestUnitsHaveThreeFigures(t *testing.T) {
	for want, got := range map[string]string{
		"999":       formatRate(999),
		"1.00 k":    formatRate(1000),
		"12.3 k":    formatRate(12345),
		"1.23 M":    formatRate(1234567),
		"250 ns":    formatNanos(250),
		"12.6 µs":   formatNanos(12600),
		"50.0 ms":   formatNanos(50e6),
		"500 B":     formatBytes(500),
		"3.72 KiB":  formatBytes(3.72 * 1024),
		"-2.00 KiB": formatBytes(-2 * 1024),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAReportIsReadAsItWasSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	saved := &Report{Machine: thisMachine()}
	saved.put(sampleRow())
	if err := saved.save(dir); err != nil {
		t.Fatal(err)
	}
	read, err := load(filepath.Join(dir, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, saved) {
		t.Errorf("got %+v, want %+v", read, saved)
	}
	if read.Machine.CPU == "" || read.Machine.Cores == 0 {
		t.Errorf("machine %+v", read.Machine)
	}
}

func TestANewMeasurementReplacesItsRowAndKeepsTheOthers(t *testing.T) {
	r := new(Report)
	for _, name := range []string{"churn", "pipelined-64x64", "long gone"} {
		r.put(RowReport{row: row{Name: name}, About: "old"})
	}
	r.put(RowReport{row: row{Name: "churn"}, About: "new"})
	var got []string
	for _, row := range r.Rows {
		got = append(got, row.Name+" "+row.About)
	}
	if want := []string{"pipelined-64x64 old", "churn new", "long gone old"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRoundsAreAddedToThoseOfARowMeasuredAlike(t *testing.T) {
	s, err := findServer("net")
	if err != nil {
		t.Fatal(err)
	}
	o := options{out: t.TempDir(), add: true, base: "net"}
	o.plan = plan{servers: []server{s}, rounds: 2, window: 10 * time.Millisecond}
	o.plan.rows = []row{{Name: "small", Kind: echoKind, Conns: 1, Window: 1, Size: 8}}
	r := new(Report)
	for _, want := range []int{2, 4} {
		if err := o.measure(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		row, _ := r.row("small")
		if got := len(row.Servers[0].Rounds); got != want {
			t.Fatalf("%d rounds, want %d", got, want)
		}
		if row.Servers[0].Median != median(row.Servers[0].Rounds) {
			t.Error("the median is not that of all rounds")
		}
	}
	o.plan.window *= 2
	if err := o.measure(t.Context(), r); err == nil {
		t.Error("rounds of different lengths were added to each other")
	}
}

func TestAMissingReportIsEmptyAndABrokenOneAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), reportFile)
	if r, err := load(file); err != nil || len(r.Rows) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := load(file); err == nil {
		t.Error("half a report was read")
	}
}

func TestTheChartIsXMLWithoutABackground(t *testing.T) {
	file := filepath.Join(t.TempDir(), chartFile)
	r := new(Report)
	r.put(sampleRow())
	if err := saveChart(r, file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	svg := string(text)
	for in := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := in.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"4.00 M", "(20.0 ×)", "stalled", "sans-serif"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
	for _, bad := range []string{"#FFFFFF", "#000000"} {
		if strings.Contains(svg, bad) {
			t.Errorf("the chart has %s, which one kind of page swallows", bad)
		}
	}
}

func TestAChartOfNothingIsStillAChart(t *testing.T) {
	file := filepath.Join(t.TempDir(), chartFile)
	if err := saveChart(new(Report), file); err != nil {
		t.Fatal(err)
	}
}

func TestAPlanIsNarrowedByPatterns(t *testing.T) {
	p := plan{rows: rows, servers: servers, rounds: 2}
	if err := p.choose("^ping-pong-64$", "^net$|^seed$"); err != nil {
		t.Fatal(err)
	}
	if got := p.measurements(); got != 4 {
		t.Errorf("%d measurements, want 2 rounds of 2 servers", got)
	}
	for _, patterns := range [][2]string{{"no such row", ""}, {"", "no such server"}, {"(", ""}, {"", "("}} {
		q := plan{rows: rows, servers: servers, rounds: 1}
		if q.choose(patterns[0], patterns[1]) == nil {
			t.Errorf("-rows %q -servers %q is no error", patterns[0], patterns[1])
		}
	}
}

func TestRowsAndServersHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.Name] {
			t.Errorf("two rows are named %q", r.Name)
		}
		seen[r.Name] = true
		for _, name := range r.only {
			if _, err := findServer(name); err != nil {
				t.Errorf("row %s: %v", r.Name, err)
			}
		}
	}
	for _, p := range panels {
		if !seen[p.row] {
			t.Errorf("the chart has a panel of row %q, which is none", p.row)
		}
	}
}
