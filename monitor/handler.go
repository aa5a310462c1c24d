package monitor

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
)

// Handler returns a handler that shows server, at the paths that the package's documentation names. To have them under
// a prefix use http.StripPrefix; the page's own links are relative. It panics without a server, and with options that
// [Options.Listen] refuses.
func Handler(server *libnet.Server, o Options) http.Handler { return newMonitor(server, o) }

// monitor is the handler. Its methods may be called by any goroutine.
type monitor struct {
	Options
	server *libnet.Server
	since  time.Time
	rates  rates
	past   history

	outside  outside
	listener func() string // network and address of the server's listener; asked once
	groups   []*watched    // of Options.Groups, by name
	gauges   []*watched    // of Options.Gauges
	others   []*monitor    // of Options.Others, by name
}

func newMonitor(server *libnet.Server, o Options) *monitor {
	if server == nil {
		panic("libnet: a monitor of no server")
	}
	_ = server.Manager() // which panics for a zero Server
	if err := o.check(); err != nil {
		panic(err.Error())
	}
	m := &monitor{Options: o, server: server, since: time.Now(), outside: outside{logger: server.Logger, most: maxStuck}}
	m.listener = sync.OnceValue(m.listenerAddr)
	m.watchGroups()
	m.watchGauges()
	for _, name := range slices.Sorted(maps.Keys(o.Others)) {
		m.others = append(m.others, newMonitor(o.Others[name], Options{Name: name}))
	}
	return m
}

// An answer is a whole response, made before the first byte of it is written.
type answer struct {
	status      int
	contentType string
	body        []byte
}

var paths = map[string]func(*monitor, *http.Request) answer{
	"/":          (*monitor).page,
	"/varz":      (*monitor).varz,
	"/connz":     (*monitor).connz,
	"/resumez":   (*monitor).resumez,
	"/metrics":   (*monitor).metrics,
	"/healthz":   (*monitor).healthz,
	"/readyz":    (*monitor).readyz,
	"/style.css": func(*monitor, *http.Request) answer { return static("style.css", "text/css; charset=utf-8") },
	"/script.js": func(*monitor, *http.Request) answer { return static("script.js", "text/javascript; charset=utf-8") },
	"/icon.svg":  func(*monitor, *http.Request) answer { return static("icon.svg", "image/svg+xml") },
}

func (m *monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header(), r)
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	if !m.admit(w, r) {
		return
	}
	path := r.URL.Path
	if path == "" { // under http.StripPrefix
		path = "/"
	}
	if path == "/close" {
		m.serveClose(w, r)
		return
	}
	serve, ok := paths[path]
	switch {
	case !ok:
		http.Error(w, "There is no such page. There are: / /varz /connz /resumez /metrics /healthz /readyz", http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuseMethod(w, "GET, HEAD")
	default:
		serve(m, r).write(w)
	}
}

func refuseMethod(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	http.Error(w, "The methods here: "+allowed, http.StatusMethodNotAllowed)
}

func (a answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = bytes.NewReader(a.body).WriteTo(w) // net/http drops a HEAD's
}

func text(status int, line string) answer {
	return answer{status, "text/plain; charset=utf-8", []byte(line + "\n")}
}

func (m *monitor) healthz(*http.Request) answer { return text(http.StatusOK, "ok") }

func (m *monitor) readyz(*http.Request) answer {
	if m.draining() {
		return text(http.StatusServiceUnavailable, "draining")
	}
	if m.Options.Ready == nil {
		return text(http.StatusOK, "ready")
	}
	switch ready, err := option(m, "Options.Ready", m.Options.Ready); {
	case err != nil:
		return text(http.StatusServiceUnavailable, "not ready: "+err.Error())
	case !ready:
		return text(http.StatusServiceUnavailable, "not ready")
	}
	return text(http.StatusOK, "ready")
}

func (m *monitor) draining() bool {
	select {
	case <-m.server.Stopping():
		return true
	default:
		return false
	}
}
