package monitortest

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

func TestPrometheusReadsTheMetricsAndItsLinterHasNothingToSay(t *testing.T) {
	srv := newServer(t)
	address := show(t, monitor.Options{}, srv)
	s := dial(t, srv)
	sum := converse(t, s, 17, 100)
	for open := range srv.Manager().All() {
		_ = open.CloseWithError(libnet.ErrFrameTimeout)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(address + "metrics")
	if err != nil {
		t.Fatal(err)
	}
	if format := expfmt.ResponseFormat(response.Header); format != expfmt.NewFormat(expfmt.TypeTextPlain) {
		t.Errorf("the content's type, %q, is %q to Prometheus", response.Header.Get("Content-Type"), format)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}

	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"libnet_sessions": 0, "libnet_sessions_peak": 1, "libnet_sessions_accepted_total": 1,
		"libnet_received_messages_total": float64(sum.messages), "libnet_sent_messages_total": float64(sum.messages),
		"libnet_received_bytes_total": float64(sum.bytes), "libnet_sent_bytes_total": float64(sum.bytes),
	} {
		f := families[name]
		if f == nil || len(f.Metric) != 1 {
			t.Errorf("%s: %v", name, f)
			continue
		}
		got, isCounter := f.Metric[0].GetGauge().GetValue(), f.GetType() == dto.MetricType_COUNTER
		if isCounter {
			got = f.Metric[0].GetCounter().GetValue()
		}
		if got != want || isCounter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: %v; want %v", name, f, want)
		}
	}
	closed := families["libnet_sessions_closed_total"]
	for _, m := range closed.GetMetric() {
		reason, want := m.Label[0].GetValue(), 0.0
		if reason == "frame_timeout" {
			want = 1
		}
		if m.Counter.GetValue() != want {
			t.Errorf("closed by %s: %v", reason, m.Counter.GetValue())
		}
	}
}
