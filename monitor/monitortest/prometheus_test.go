package monitortest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

const dashboards = "../dashboards/"

// program returns the path of one that the test starts.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no %s is installed", name)
		}
		t.Skipf("no %s is installed", name)
	}
	return path
}

// expressions are those of the dashboard's panels, by their titles, with Grafana's variables filled in, and the queries
// of its variables.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	text, err := os.ReadFile(dashboards + "grafana.json")
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$instance", ".*", "$server", ".*", "$__rate_interval", "10s")
	all := make(map[string]string)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all[p.Title+" "+target.RefID] = fill.Replace(target.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		if metric, ok := strings.CutPrefix(v.Query, "label_values("); ok && v.Type == "query" {
			metric, label, _ := strings.Cut(strings.TrimSuffix(metric, ")"), ", ")
			all["variable "+v.Name] = fmt.Sprintf("count by (%s) (%s)", label, metric)
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d expressions", len(all))
	}
	return all
}

// prometheus starts one that scrapes a monitor and evaluates the rules, both each second, and returns its address.
func prometheus(t *testing.T, target string) string {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(dashboards + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimSuffix(strings.TrimPrefix(target, "http://"), "/")
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: libnet, static_configs: [{targets: [%q]}]}]\n", rules, host), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("prometheus: %s", text)
		}
	})
	return "http://" + address
}

// ask has Prometheus answer, as what v is like. It reports what went wrong.
func ask(address, path string, v any) error {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(address + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", response.StatusCode, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

type queried struct {
	Data struct {
		Result []struct{ Metric map[string]string }
	}
}

func query(address, expression string) (q queried, err error) {
	err = ask(address, "/api/v1/query?"+url.Values{"query": {expression}}.Encode(), &q)
	return q, err
}

// alertTests has what each rule is for, in promtool's own terms.
const alertTests = "testdata/alerts_test.yml"

func TestEachAlertIsRaisedByItsFaultAndNoneByAServerThatIsWell(t *testing.T) {
	for _, arguments := range [][]string{{"check", "rules", dashboards + "alerts.yml"}, {"test", "rules", alertTests}} {
		if out, err := exec.Command(program(t, "promtool"), arguments...).CombinedOutput(); err != nil {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
	rules, err := os.ReadFile(dashboards + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(alertTests)
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllSubmatch(rules, -1) {
		if !strings.Contains(string(tests), `alertname="`+string(alert[1])+`"`) {
			t.Errorf("%s is never raised in %s", alert[1], alertTests)
		}
	}
}

func TestPrometheusEvaluatesRulesAndDashboard(t *testing.T) {
	other := newServer(t)
	srv := newServer(t, measure)
	monitored := show(t, wholeOptions(other), srv)
	address := prometheus(t, monitored)
	clients := []*libnet.Session{dial(t, srv), dial(t, srv)}
	await := func(what string, condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !condition(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in time: %s", what)
			}
			for _, s := range clients {
				converse(t, s, 1, 10)
			}
		}
	}
	has := func(expression string) func() bool {
		return func() bool {
			q, err := query(address, expression)
			return err == nil && len(q.Data.Result) > 0
		}
	}
	await("a look", has(`libnet_sessions == 2`))
	ended := dial(t, srv)
	converse(t, ended, 1, 10)
	_ = ended.Close()
	await("two looks at a server that is at work", has(`rate(libnet_received_messages_total{server="front"}[10s]) > 0`))
	await("an end", has(`rate(libnet_sessions_closed_total{server="front",reason="eof"}[10s]) > 0`))
	families := parse(t, scrape(t, monitored))
	name := regexp.MustCompile(`\blibnet_\w+`)
	for title, expression := range expressions(t) {
		q, err := query(address, expression)
		if err != nil {
			t.Errorf("%s: %v", title, err)
		} else if len(q.Data.Result) == 0 {
			t.Errorf("%s: %s has no result", title, expression)
		}
		wantMetrics(t, title, name.FindAllString(expression, -1), families)
	}
	checkRules(t, address, await, func(rule, expression string) { wantMetrics(t, rule, name.FindAllString(expression, -1), families) })

	for s := range srv.Manager().All() {
		s.OnClose(func() { panic("on purpose") })
		_ = s.Close()
		break
	}
	clients = nil
	await("an alarm", has(`ALERTS{alertname="LibnetPanics",alertstate="firing",server="front"}`))
}

// wantMetrics wants each name to be one of a metric that the monitor has.
func wantMetrics[T any](t *testing.T, where string, names []string, families map[string]T) {
	t.Helper()
	if len(names) == 0 {
		t.Errorf("%s asks for no metric of libnet's", where)
	}
	for _, name := range names {
		if _, ok := families[strings.TrimSuffix(name, "_bucket")]; !ok {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

// checkRules wants each rule to have been evaluated, without an error, and those to fire, or to be about to, that have
// a reason.
func checkRules(t *testing.T, address string, await func(string, func() bool), each func(rule, expression string)) {
	t.Helper()
	type rule struct{ Name, Query, Health, State, LastError string }
	var rules struct {
		Data struct{ Groups []struct{ Rules []rule } }
	}
	await("the rules' evaluation", func() bool {
		if err := ask(address, "/api/v1/rules", &rules); err != nil || len(rules.Data.Groups) != 1 {
			return false
		}
		for _, r := range rules.Data.Groups[0].Rules {
			if r.Health == "unknown" {
				return false
			}
		}
		return true
	})
	for _, r := range rules.Data.Groups[0].Rules {
		if r.Health != "ok" || r.State != "inactive" {
			t.Errorf("%s: %s, %s, %s", r.Name, r.Health, r.State, r.LastError)
		}
		each(r.Name, r.Query)
	}
	if n := len(rules.Data.Groups[0].Rules); n < 10 {
		t.Errorf("only %d rules", n)
	}
}
