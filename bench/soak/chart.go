package main

import (
	"bytes"
	"image/color"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A panel shows one figure over time: a line through all samples, a dot at each quiet point.
type panel struct {
	title string
	of    func(sample) float64
}

var panels = []panel{
	{"server: resident memory, MiB", figures[0].of},
	{"server: goroutines", figures[2].of},
	{"server: descriptors", figures[3].of},
	{"sessions open", func(s sample) float64 { return float64(s.Open) }},
	{"client: resident memory, MiB", figures[4].of},
	{"client: goroutines", figures[6].of},
}

// Middle tones, for a white page and for a dark one.
var (
	inkColor   = color.RGBA{0x7a, 0x82, 0x8c, 0xff}
	lineColor  = color.RGBA{0xa9, 0xb2, 0xbc, 0xff}
	quietColor = color.RGBA{0x2f, 0x8f, 0xc9, 0xff}
)

const (
	columns               = 2
	panelWidth  vg.Length = 380 // points
	panelHeight vg.Length = 170
	textSize    vg.Length = 9
)

func saveChart(samples []sample, file string) error {
	rows := (len(panels) + columns - 1) / columns
	canvas := vgsvg.New(columns*panelWidth, vg.Length(rows)*panelHeight)
	tiles := draw.Tiles{Cols: columns, Rows: rows, PadX: 16, PadY: 16, PadTop: 8, PadBottom: 8, PadLeft: 8, PadRight: 16}
	for i, p := range panels {
		drawn, err := p.plot(samples)
		if err != nil {
			return err
		}
		drawn.Draw(tiles.At(draw.New(canvas), i%columns, i/columns))
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The chart's own font is hardly ever there where it is looked at.
	text := strings.ReplaceAll(svg.String(), "font-family:Liberation Sans;", "font-family:Liberation Sans,Helvetica,Arial,sans-serif;")
	return os.WriteFile(file, []byte(text), 0o644)
}

func (p panel) plot(samples []sample) (*plot.Plot, error) {
	var all, quiet plotter.XYs
	for _, s := range samples {
		at := plotter.XY{X: s.At.Minutes(), Y: p.of(s)}
		all = append(all, at)
		if s.Quiet {
			quiet = append(quiet, at)
		}
	}
	out := plot.New()
	out.BackgroundColor = nil
	out.Title.Text = p.title
	out.X.Label.Text = "minutes"
	for _, axis := range []*plot.Axis{&out.X, &out.Y} {
		axis.LineStyle.Color = inkColor
		axis.Tick.LineStyle.Color = inkColor
		axis.Tick.Label = style(axis.Tick.Label)
		axis.Label.TextStyle = style(axis.Label.TextStyle)
	}
	out.Title.TextStyle = style(out.Title.TextStyle)
	if len(all) > 0 {
		line, err := plotter.NewLine(all)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = lineColor, 0.5
		out.Add(line)
	}
	if len(quiet) > 0 {
		dots, err := plotter.NewScatter(quiet)
		if err != nil {
			return nil, err
		}
		dots.Color, dots.Radius, dots.Shape = quietColor, 1.5, draw.CircleGlyph{}
		out.Add(dots)
	}
	out.Y.Min = 0
	return out, nil
}

func style(s draw.TextStyle) draw.TextStyle {
	s.Color = inkColor
	s.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize}
	return s
}
