package monitortest

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

// scrape gets the metrics as Prometheus does.
func scrape(t *testing.T, address string) []byte {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(address + "metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if format := expfmt.ResponseFormat(response.Header); format != expfmt.NewFormat(expfmt.TypeTextPlain) {
		t.Errorf("the content's type, %q, is %q to Prometheus", response.Header.Get("Content-Type"), format)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parse(t *testing.T, text []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestPrometheusLinterHasNothingToSay(t *testing.T) {
	text := scrape(t, show(t, wholeOptions(newServer(t)), newServer(t, measure)))
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for name, family := range parse(t, text) {
		kind := dto.MetricType_GAUGE
		switch {
		case strings.HasSuffix(name, "_total"):
			kind = dto.MetricType_COUNTER
		case strings.HasSuffix(name, "_seconds"), strings.HasSuffix(name, "_size_bytes"):
			kind = dto.MetricType_HISTOGRAM
		}
		if family.GetType() != kind || !strings.HasPrefix(name, "libnet_") && name != "app_load" || !strings.HasSuffix(family.GetHelp(), ".") {
			t.Errorf("%s is a %v, with the help %q", name, family.GetType(), family.GetHelp())
		}
	}
}

// wholeOptions have all that adds to the metrics.
func wholeOptions(other *libnet.Server) monitor.Options {
	return monitor.Options{
		Name:   "front",
		Others: map[string]*libnet.Server{"back": other},
		Groups: map[string]func() int{`rooms "\` + "\n": func() int { return 3 }},
		Gauges: []monitor.Gauge{{Name: "app_load", Help: "How much there is to do.", Value: func() float64 { return 0.5 }}},
	}
}

// measure has a server say all that it can.
func measure(srv *libnet.Server) {
	srv.Histograms = true
	srv.MaxSessions = 100
}

// busyServer has something to say in most of its numbers.
func busyServer(t *testing.T) (srv *libnet.Server, address string) {
	t.Helper()
	srv = newServer(t, func(srv *libnet.Server) { srv.MaxSessions = 2 })
	address = show(t, monitor.Options{}, srv)
	converse(t, dial(t, srv), 17, 100)
	for open := range srv.Manager().All() {
		_ = open.CloseWithError(libnet.ErrFrameTimeout)
	}
	for range 2 {
		converse(t, dial(t, srv), 3, 50)
	}
	if _, err := dial(t, srv).Receive(); err == nil {
		t.Error("the third of two sessions has received something else than its end")
	}
	settle(t, srv, 23)
	return srv, address
}

func TestTheMetricsAreTheServersNumbers(t *testing.T) {
	srv, address := busyServer(t)
	families := parse(t, scrape(t, address))
	stats := srv.Stats()
	if stats.Open != 2 || stats.Rejected != 1 || stats.Closed["frame_timeout"] != 1 {
		t.Fatalf("%+v", stats)
	}

	closed := families["libnet_sessions_closed_total"]
	for _, m := range closed.GetMetric() {
		if reason := m.Label[0].GetValue(); len(m.Label) != 1 || m.Counter.GetValue() != float64(stats.Closed[reason]) {
			t.Errorf("closed by %s: %v; want %d", reason, m, stats.Closed[reason])
		}
	}
	if len(closed.GetMetric()) < 10 {
		t.Errorf("%d reasons", len(closed.GetMetric()))
	}
	delete(families, "libnet_sessions_closed_total")

	want := map[string]float64{
		"libnet_sessions":                   float64(stats.Open),
		"libnet_sessions_peak":              float64(stats.Peak),
		"libnet_sessions_accepted_total":    float64(stats.Accepted),
		"libnet_connections_rejected_total": float64(stats.Rejected),
		"libnet_accept_errors_total":        float64(stats.AcceptErrors),
		"libnet_received_messages_total":    float64(stats.MessagesIn),
		"libnet_sent_messages_total":        float64(stats.MessagesOut),
		"libnet_received_bytes_total":       float64(stats.BytesIn),
		"libnet_sent_bytes_total":           float64(stats.BytesOut),
		"libnet_blocked_messages_total":     float64(stats.Blocked),
		"libnet_discarded_messages_total":   float64(stats.Discarded),
		"libnet_dropped_bytes_total":        float64(stats.Dropped),
		"libnet_panics_total":               float64(stats.Panics),
		"libnet_sessions_limit":             2,
		"libnet_queue_limit_messages":       32,
		"libnet_queued_messages_most":       0,
		"libnet_queued_messages":            0,
		"libnet_queued_bytes":               0,
		"libnet_waiting_sessions":           0,
		"libnet_draining":                   0,
	}
	if got, names := slices.Sorted(maps.Keys(families)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, names) {
		t.Errorf("the metrics are %v; want %v", got, names)
	}
	for name, family := range families {
		m := family.GetMetric()[0]
		got := m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of them, and the other is 0
		if len(family.GetMetric()) != 1 || got != want[name] {
			t.Errorf("%s: %v; want %v", name, family.GetMetric(), want[name])
		}
	}
}
