package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A panel is one small bar chart: one figure of one row, a bar a server.
type panel struct {
	row   string
	title string
	value func(Result) float64
	text  func(float64) string
}

// panels, from the left to the right and from the top down. A row that was not measured has none.
var panels = []panel{
	{"pipelined-64x64", "pipelined 64 × 64, 64 B: messages a second (more is better)", rateOf, formatRate},
	{"pipelined-64x64", "the same: server CPU a message (less is better)", cpuOf, formatNanos},
	{"pipelined-64x16-1KiB", "pipelined 64 × 16, 1 KiB: server CPU a message (less is better)", cpuOf, formatNanos},
	{"pipelined-16x4-65000B", "pipelined 16 × 4, 65,000 B: server CPU a message (less is better)", cpuOf, formatNanos},
	{"mixed", "2,000 connections, 50 busy, 32 B to 4 KiB: CPU a message (less is better)", cpuOf, formatNanos},
	{"ping-pong-64", "ping-pong, 64 connections: server CPU a message (less is better)", cpuOf, formatNanos},
	{"idle-10000", "10,000 idle connections: memory a connection (less is better)", sessionRSSOf, formatBytes},
	{"churn", "connect, echo, close: connections a second (more is better)", rateOf, formatRate},
	{"broadcast-single", "broadcast to 1,000: deliveries a second (more is better)", rateOf, formatRate},
	{"broadcast-burst-32", "the same in bursts of 32: deliveries a second (more is better)", rateOf, formatRate},
}

// Middle tones: each has a contrast of at least 3 to white and to a dark page, and the background
// stays transparent.
var (
	inkColor  = color.RGBA{0x7a, 0x82, 0x8c, 0xff}
	peerColor = color.RGBA{0x8d, 0x96, 0xa0, 0xff}
	ourColor  = color.RGBA{0x2f, 0x8f, 0xc9, 0xff}
)

const (
	chartWidth  vg.Length = 760 // points
	titleHeight vg.Length = 36  // of a panel, with the room below it
	barHeight   vg.Length = 13
	chartMargin vg.Length = 8
	barWidth    vg.Length = 9
	textSize    vg.Length = 9
	labelRoom             = 1.4    // the axis is so many times as long as the longest bar
	nameRoom              = "    " // for a font that runs wider than the one that was measured
)

// saveChart draws the panels whose rows the report has.
func saveChart(r *Report, file string) error {
	var plots []*plot.Plot
	bars := 0
	for _, p := range panels {
		row, ok := r.row(p.row)
		if !ok {
			continue
		}
		drawn, err := p.plot(row)
		if err != nil {
			return fmt.Errorf("chart of %s: %w", p.row, err)
		}
		plots = append(plots, drawn)
		bars = max(bars, len(row.Servers))
	}
	const columns = 2
	lines := max(1, (len(plots)+columns-1)/columns)
	canvas := vgsvg.New(chartWidth, vg.Length(lines)*(titleHeight+vg.Length(bars)*barHeight))
	tiles := draw.Tiles{
		Cols: columns, Rows: lines, PadX: 3 * chartMargin, PadY: 2 * chartMargin,
		PadTop: chartMargin, PadBottom: chartMargin, PadLeft: chartMargin, PadRight: chartMargin,
	}
	for i, p := range plots {
		p.Draw(tiles.At(draw.New(canvas), i%columns, i/columns))
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The chart's own font is hardly ever there where it is looked at.
	text := strings.ReplaceAll(svg.String(), "font-family:Liberation Sans;", "font-family:Liberation Sans,Helvetica,Arial,sans-serif;")
	return os.WriteFile(file, []byte(text), 0o644)
}

// plot draws the row's servers from the top down.
func (p panel) plot(row RowReport) (*plot.Plot, error) {
	var names, texts []string
	var values plotter.Values
	baseline, _ := row.server("net")
	for _, s := range slices.Backward(row.Servers) {
		v := p.value(s.Median)
		text := "stalled"
		if v != 0 {
			text = p.text(v)
		}
		if base := p.value(baseline); base != 0 && v != 0 {
			text += fmt.Sprintf("  (%s ×)", formatRatio(v/base))
		}
		names, texts, values = append(names, s.Server+nameRoom), append(texts, text), append(values, max(v, 0))
	}
	out := plot.New()
	out.BackgroundColor = nil
	out.Title.Text = p.title
	out.Title.TextStyle = style(out.Title.TextStyle)
	out.Title.Padding = chartMargin / 2
	out.HideX()
	out.NominalY(names...)
	out.Y.LineStyle.Width = 0
	out.Y.Tick.Length = 0
	out.Y.Tick.Label = style(out.Y.Tick.Label)
	for i, v := range values {
		if err := addBar(out, i, v, names[i], texts[i]); err != nil {
			return nil, err
		}
	}
	out.X.Min, out.X.Max = 0, max(slices.Max(values), 1)*labelRoom
	out.Y.Min, out.Y.Max = -0.6, float64(len(values))-0.4
	return out, nil
}

// addBar adds the bar at place i, with its text behind its end.
func addBar(out *plot.Plot, i int, value float64, name, text string) error {
	bar, err := plotter.NewBarChart(plotter.Values{value}, barWidth)
	if err != nil {
		return err
	}
	bar.Horizontal, bar.XMin = true, float64(i)
	bar.LineStyle.Width = 0
	bar.Color = peerColor
	if strings.HasPrefix(name, "libnet") {
		bar.Color = ourColor
	}
	label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: value, Y: float64(i)}}, Labels: []string{text}})
	if err != nil {
		return err
	}
	label.TextStyle[0] = style(label.TextStyle[0])
	label.TextStyle[0].YAlign = draw.YCenter
	label.Offset = vg.Point{X: chartMargin / 2}
	out.Add(bar, label)
	return nil
}

func style(s draw.TextStyle) draw.TextStyle {
	s.Color = inkColor
	s.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize}
	return s
}
