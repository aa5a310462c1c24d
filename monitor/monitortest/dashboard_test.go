package monitortest

//lint:file-ignore SA1019 the schema before dashboardv2 is what every Grafana of today imports

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	grafanaprom "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// No Grafana is to be had for a test, neither in Debian nor as a module. Its schema is, which Grafana makes its own
// types from.

// readDashboard decodes it by the schema, which takes no field that it does not know, misses none that it asks for, and
// wants each of its type.
func readDashboard(t *testing.T, text []byte) (d dashboard.Dashboard, err error) {
	t.Helper()
	known := cog.NewRuntime()
	known.RegisterPanelcfgVariant(timeseries.VariantConfig())
	known.RegisterDataqueryVariant(grafanaprom.VariantConfig())
	err = new(dashboard.Dashboard).UnmarshalJSONStrict(text)
	if faults, ok := err.(cog.BuildErrors); ok && len(faults) == 0 { // what it returns if there is none is not nil
		err = json.Unmarshal(text, &d) // the strict one knows panels from rows no more
	}
	if err == nil {
		err = d.Validate()
	}
	return d, err
}

func dashboardText(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(dashboards + "grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheDashboardIsOneByGrafanasOwnSchema(t *testing.T) {
	text := dashboardText(t)
	d, err := readDashboard(t, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		if _, ok := p.Panel.Options.(*timeseries.Options); !ok {
			t.Errorf("%s has the options %T", *p.Panel.Title, p.Panel.Options)
		}
		if _, ok := p.Panel.FieldConfig.Defaults.Custom.(*common.GraphFieldConfig); !ok {
			t.Errorf("%s is drawn by %T", *p.Panel.Title, p.Panel.FieldConfig.Defaults.Custom)
		}
	}
	for _, fault := range [][2]string{
		{`"fillOpacity": 10`, `"fillOpacity": "10"`},
		{`"fillOpacity"`, `"filOpacity"`},
		{`"refId"`, `"refid"`},
		{`"gridPos"`, `"gridpos"`},
		{`"displayMode": "list"`, `"displayMode": ["list"]`},
		{`"legendFormat": "p50"`, `"legendFormat": 50`},
	} {
		broken := strings.Replace(string(text), fault[0], fault[1], 1)
		if broken == string(text) {
			t.Errorf("there is no %s", fault[0])
		}
		if _, err := readDashboard(t, []byte(broken)); err == nil {
			t.Errorf("%s in the place of %s was taken", fault[1], fault[0])
		}
	}
}

// What Grafana would show and nobody could use.
func TestEachPanelHasItsPlaceItsWordsAndBothVariables(t *testing.T) {
	d, err := readDashboard(t, dashboardText(t))
	if err != nil {
		t.Fatal(err)
	}
	const width = 24
	taken := make(map[[2]uint32]string)
	ids, titles := make(map[uint32]bool), make(map[string]bool)
	unitsKnown := map[string]bool{units.Short: true, units.Seconds: true, units.BytesIEC: true, units.BytesPerSecondSI: true}
	for _, entry := range d.Panels {
		p := entry.Panel
		if p == nil || p.Id == nil || p.Title == nil || p.Description == nil || p.GridPos == nil || p.FieldConfig.Defaults.Unit == nil {
			t.Fatalf("a panel without a number, a title, a description, a place or a unit: %+v", p)
		}
		title, at := *p.Title, *p.GridPos
		if ids[*p.Id] || titles[title] || *p.Description == "" || len(p.Targets) == 0 || !unitsKnown[*p.FieldConfig.Defaults.Unit] || at.X+at.W > width {
			t.Errorf("%s: the number %d, %q, %d expressions, the unit %s, at %+v", title, *p.Id, *p.Description, len(p.Targets), *p.FieldConfig.Defaults.Unit, at)
		}
		ids[*p.Id], titles[title] = true, true
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]uint32{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", title, other)
				}
				taken[[2]uint32{x, y}] = title
			}
		}
		checkTargets(t, title, p)
	}
	names := make(map[string]bool)
	for _, v := range d.Templating.List {
		names[v.Name] = true
	}
	if len(names) != 3 || !names["datasource"] || !names["instance"] || !names["server"] {
		t.Errorf("the variables are %v", names)
	}
}

// checkTargets wants each expression to ask the data source that is chosen for what is chosen, over a window that fits
// the scrapes.
func checkTargets(t *testing.T, title string, p *dashboard.Panel) {
	t.Helper()
	refs := make(map[string]bool)
	for _, target := range p.Targets {
		q, ok := target.(*grafanaprom.Dataquery)
		if !ok {
			t.Errorf("%s asks %T", title, target)
			continue
		}
		if q.RefId == nil || q.LegendFormat == nil || q.Datasource == nil || q.Datasource.Uid == nil {
			t.Fatalf("%s: an expression without a letter, a legend or a data source: %+v", title, q)
		}
		ref := *q.RefId
		if refs[ref] || *q.LegendFormat == "" || *q.Datasource.Uid != "${datasource}" {
			t.Errorf("%s %s: %q, of %s", title, ref, *q.LegendFormat, *q.Datasource.Uid)
		}
		refs[ref] = true
		selectors := strings.Count(q.Expr, "{")
		if selectors == 0 || strings.Count(q.Expr, `{instance=~"$instance",server=~"$server"}`) != selectors ||
			strings.Count(q.Expr, "[") != strings.Count(q.Expr, "[$__rate_interval]") {
			t.Errorf("%s %s: %s", title, ref, q.Expr)
		}
	}
}
