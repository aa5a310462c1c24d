package page_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/page"
)

var quiet = slog.New(slog.DiscardHandler)

func pickOne(context.Context) (string, error) { return "ws://127.0.0.1:7001/ws", nil }

func anyToken(user int64) (string, error) { return "token", nil }

// request is a request as the page's own scripts send it; edit changes it before it is sent.
func request(t testing.TB, o page.Options, method, path, body string, edit func(*http.Request)) *http.Response {
	t.Helper()
	o.Logger = quiet
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "http://127.0.0.1:8080")
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	page.Handler(o).ServeHTTP(w, r)
	return w.Result()
}

func decode[T any](t testing.TB, response *http.Response) T {
	t.Helper()
	var v T
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEveryFileIsServedWithTheHeadersThatConfineIt(t *testing.T) {
	for path, contentType := range map[string]string{
		"/":          "text/html; charset=utf-8",
		"/main.js":   "text/javascript; charset=utf-8",
		"/style.css": "text/css; charset=utf-8",
		"/icon.svg":  "image/svg+xml",
	} {
		response := request(t, page.Options{Pick: pickOne}, "GET", path, "", nil)
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != contentType {
			t.Errorf("%s: %s, %s; want 200, %s", path, response.Status, response.Header.Get("Content-Type"), contentType)
		}
		policy := response.Header.Get("Content-Security-Policy")
		for _, directive := range []string{
			"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'",
			"connect-src 'self' ws://127.0.0.1:* ws://localhost:*;", "require-trusted-types-for 'script'",
		} {
			if !strings.Contains(policy, directive) {
				t.Errorf("%s: policy %q lacks %q", path, policy, directive)
			}
		}
		if response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the type may be guessed", path)
		}
	}
}

func TestThePageHasNoInlineScriptOrStyle(t *testing.T) {
	body, err := io.ReadAll(request(t, page.Options{Pick: pickOne}, "GET", "/", "", nil).Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, inline := range []string{"<style", " style=", " onclick=", "javascript:", "<script>", "http://", "https://"} {
		if strings.Contains(string(body), inline) {
			t.Errorf("index.html contains %q", inline)
		}
	}
}

func TestAForeignHostNameIsNotAnswered(t *testing.T) {
	for host, status := range map[string]int{
		"127.0.0.1:8080":    http.StatusOK,
		"localhost":         http.StatusOK,
		"[::1]:8080":        http.StatusOK,
		"evil.example":      http.StatusMisdirectedRequest,
		"evil.example:8080": http.StatusMisdirectedRequest,
		"":                  http.StatusMisdirectedRequest,
	} {
		response := request(t, page.Options{Pick: pickOne}, "GET", "/", "", func(r *http.Request) { r.Host = host })
		if response.StatusCode != status {
			t.Errorf("Host %q: %s, want %d", host, response.Status, status)
		}
	}
}

func TestHostsAndSourcesCanBeChosen(t *testing.T) {
	o := page.Options{Pick: pickOne, Hosts: []string{"chat.example.com"}, Connect: []string{"wss://*.example.com"}}
	response := request(t, o, "GET", "/", "", func(r *http.Request) { r.Host = "chat.example.com" })
	if response.StatusCode != http.StatusOK {
		t.Errorf("the chosen host: %s", response.Status)
	}
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "connect-src 'self' wss://*.example.com;") {
		t.Errorf("policy %q lacks the chosen source", policy)
	}
	if response := request(t, o, "GET", "/", "", nil); response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("the default host: %s, want 421", response.Status)
	}
}

func TestPickAnswersWithTheGatewaysChoice(t *testing.T) {
	response := request(t, page.Options{Pick: pickOne}, "POST", "/pick", "", nil)
	if got := decode[map[string]string](t, response)["url"]; got != "ws://127.0.0.1:7001/ws" {
		t.Errorf("url %q", got)
	}
}

func TestPickWithoutAnAccessServerIsUnavailableAndKeepsTheReasonInside(t *testing.T) {
	none := func(context.Context) (string, error) { return "", errors.New("etcd at 10.0.0.7 is gone") }
	response := request(t, page.Options{Pick: none}, "POST", "/pick", "", nil)
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %s, want 503", response.Status)
	}
	if text := decode[map[string]string](t, response)["error"]; text == "" || strings.Contains(text, "10.0.0.7") {
		t.Errorf("error %q, want a text for visitors", text)
	}
}

func TestPickIsGivenABound(t *testing.T) {
	bounded := func(ctx context.Context) (string, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("pick without a deadline")
		}
		return "", ctx.Err()
	}
	request(t, page.Options{Pick: bounded}, "POST", "/pick", "", nil)
}

func TestDemoTokensAreHandedOutToThePageOnly(t *testing.T) {
	demo := page.Options{Pick: pickOne, DemoTokens: anyToken}
	tests := []struct {
		name   string
		o      page.Options
		method string
		edit   func(*http.Request)
		status int
	}{
		{"the page", demo, "POST", nil, http.StatusOK},
		{"a page elsewhere", demo, "POST", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, http.StatusForbidden},
		{"a page on another port", demo, "POST", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, http.StatusForbidden},
		{"an old browser elsewhere", demo, "POST", func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "http://evil.example")
		}, http.StatusForbidden},
		{"another machine that knows the name of this one", demo, "POST", func(r *http.Request) {
			r.Host, r.RemoteAddr = "127.0.0.1:8080", "192.0.2.1:4711"
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
		}, http.StatusForbidden},
		{"a link", demo, "GET", nil, http.StatusNotFound},
		{"a server without demo tokens", page.Options{Pick: pickOne}, "POST", nil, http.StatusMethodNotAllowed},
	}
	for _, test := range tests {
		response := request(t, test.o, test.method, "/demo", `{"name":"Ada"}`, test.edit)
		if response.StatusCode != test.status {
			t.Errorf("%s: %s, want %d", test.name, response.Status, test.status)
		}
	}
}

func TestANameIsOneUserAndIsShownToAll(t *testing.T) {
	var users []int64
	o := page.Options{Pick: pickOne, Logger: quiet, DemoTokens: func(user int64) (string, error) {
		users = append(users, user)
		return "for-" + string(rune('0'+user%10)), nil
	}}
	handler := page.Handler(o)
	post := func(path, body string) *http.Response {
		r := httptest.NewRequest("POST", "http://localhost"+path, strings.NewReader(body))
		r.RemoteAddr = "[::1]:4711"
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Result()
	}
	const markup = `<img src=x onerror=alert(1)>`
	first := decode[map[string]string](t, post("/demo", `{"name":"Ada"}`))
	second := decode[map[string]string](t, post("/demo", `{"name":"`+markup+`"}`))
	again := decode[map[string]string](t, post("/demo", `{"name":" Ada "}`))
	if first["id"] == second["id"] || again["id"] != first["id"] || first["token"] == "" {
		t.Errorf("Ada %v, another %v, Ada again %v", first, second, again)
	}
	people := decode[struct {
		Demo   bool
		People []map[string]string
	}](t, post("/people", ""))
	if !people.Demo || len(people.People) != 2 || people.People[1]["name"] != markup {
		t.Errorf("people %v", people)
	}
}

func TestANameThatCannotBeShownIsRefused(t *testing.T) {
	for _, body := range []string{
		`{"name":""}`, `{"name":"  "}`, `{"name":"` + strings.Repeat("x", 41) + `"}`, `{"name":"a\u0000b"}`,
		`{"name":"a\u202eb"}`, `{"name":`, `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, ``,
	} {
		response := request(t, page.Options{Pick: pickOne, DemoTokens: anyToken}, "POST", "/demo", body, nil)
		if response.StatusCode < 400 || response.StatusCode >= 500 {
			t.Errorf("%.40s: %s, want an error of the client", body, response.Status)
		}
	}
}

func TestANameMayBeOfAnyScript(t *testing.T) {
	for _, name := range []string{"José", "علی\u200cرضا", "नरेंद्र", "小林", "👩\u200d💻 Ada", "O’Neill-Łoś"} {
		response := request(t, page.Options{Pick: pickOne, DemoTokens: anyToken}, "POST", "/demo", `{"name":"`+name+`"}`, nil)
		if got := decode[map[string]string](t, response)["name"]; got != name {
			t.Errorf("%q became %q: %s", name, got, response.Status)
		}
	}
}
