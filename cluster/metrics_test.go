package cluster_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/cluster"
)

var sampleLine = regexp.MustCompile(`^([a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="[a-z]+")?\}) ([0-9]+)$`)

// scrape returns all samples by name and labels, and wants the format to be right.
func scrape(t *testing.T, nodes ...*cluster.Node) map[string]string {
	t.Helper()
	answer := httptest.NewRecorder()
	cluster.Metrics(nodes...).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if typ := answer.Header().Get("Content-Type"); !strings.HasPrefix(typ, "text/plain; version=0.0.4") {
		t.Errorf("the type is %q", typ)
	}
	samples, kinds, family := make(map[string]string), make(map[string]string), ""
	for in := bufio.NewScanner(answer.Body); in.Scan(); {
		line := in.Text()
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		if text, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(text, " ")
			if kinds[name] != "" || (kind == "counter") != strings.HasSuffix(name, "_total") {
				t.Errorf("%q, after %q", line, kinds[name])
			}
			kinds[name], family = kind, name
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || m[1] != family || samples[m[1]+m[2]] != "" {
			t.Errorf("a line of %s: %q", family, line)
			continue
		}
		samples[m[1]+m[2]] = m[3]
	}
	return samples
}

func TestMetricsAreOfPrometheusFormatAndCountWhatHappens(t *testing.T) {
	strange := startNode(t, cluster.Options{NodeID: "a \"b\"\\\nc", Listen: "127.0.0.1:0"})
	nodes := []*cluster.Node{strange, startNode(t, cluster.Options{NodeID: "n2", Listen: "127.0.0.1:0", Routes: routesTo([]*cluster.Node{strange})})}
	formed(t, nodes)
	server := newSessions(t, lines, nil)
	session, _ := server.bound(nodes[1], "u")
	join(t, nodes[1], session, "g")
	serve(t, nodes[1], "s", answering(nil), cluster.ServeOptions{})
	send(t, strange, "u", "x")
	for _, err := range []error{strange.Post("u", nil), strange.Broadcast("g", nil), strange.Sync(patience(t)), errors.Join(strange.SendMany(patience(t), []string{"u"}, nil)...)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, _ = strange.Service("s").Carry(patience(t), nil) // panics
	if n, err := strange.Kick(patience(t), "u", ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	samples := scrape(t, nodes...)
	for name, want := range map[string]int{
		`users{node="n2"}`: 0, `groups{node="n2"}`: 0, `peers{node="n2",state="alive"}`: 1, `peers{node="n2",state="silent"}`: 0,
		`connected{node="n2"}`: 1, `health{node="n2",state="whole"}`: 1, `health{node="n2",state="lost"}`: 0, `draining{node="n2"}`: 0,
		`sent_messages_total{node="a \"b\"\\\nc",by="send"}`: 2, `sent_messages_total{node="a \"b\"\\\nc",by="post"}`: 1,
		`sent_messages_total{node="a \"b\"\\\nc",by="broadcast"}`: 1, `delivered_messages_total{node="n2"}`: 4,
		`ended_sessions_total{node="n2",why="kicked"}`: 1, `ended_sessions_total{node="n2",why="replaced"}`: 0,
		`calls_total{node="a \"b\"\\\nc"}`: 1, `failed_calls_total{node="a \"b\"\\\nc"}`: 1, `served_calls_total{node="n2"}`: 1,
		`refused_calls_total{node="n2"}`: 0, `reconnects_total{node="n2"}`: 0, `dropped_messages_total{node="n2"}`: 0,
	} {
		if got := samples["libnet_cluster_"+name]; got != fmt.Sprint(want) {
			t.Errorf("%s is %q, want %d", name, got, want)
		}
	}
}
