// Package page is the messenger in a browser: a page of plain HTML, CSS and JavaScript, embedded in the
// program, that speaks the same protocol to the same access servers as every other client.
//
//	http.ListenAndServe("127.0.0.1:8080", page.Handler(page.Options{Pick: pick}))
//
// The page's server hands out the page and the address of an access server, and no more: messages never
// pass through it. The WebSocket to the access server carries binary messages, each the protobuf payload
// of one frame of the wire protocol (package wire).
//
// What users type is never markup. The page's scripts only ever set text, and its Content-Security-Policy
// would refuse anything else: no inline script or style, no string that becomes HTML (Trusted Types), no
// connection but to this server and to the access servers.
package page

import (
	"context"
	"crypto/tls"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// pickTimeout bounds one call of Options.Pick: the page has its own back-off and asks again.
const pickTimeout = 5 * time.Second

// maxBody bounds what a request to this server may bring: the longest is a name.
const maxBody = 4 << 10

// demoLobby is the group that a visitor joins who has no chat yet.
const demoLobby = "1"

// Options says what a page's Handler needs to know. It is copied.
type Options struct {
	// Pick returns the WebSocket URL of the access server that a browser should use now, as the gateway
	// picks it for other clients. It is called by many goroutines at a time, each with a context that ends
	// after 5 s. Required.
	Pick func(ctx context.Context) (wsURL string, err error)

	// DemoTokens makes the token of a user, for a page that lets everybody in by name: it answers with the
	// next user id and its token, and only those who connect from this machine. nil: a visitor must know a user
	// id and its token.
	DemoTokens func(user int64) (token string, err error)

	// Hosts are the values of the Host header, without port, that are answered; others get 421. Without the
	// check, a foreign site whose name is pointed at this address would be let in as this one (DNS
	// rebinding). Default: 127.0.0.1, ::1 and localhost.
	Hosts []string

	// Connect are the sources of the Content-Security-Policy besides the page's own to which the page may
	// connect, such as wss://*.example.com. Default: ws on every port of 127.0.0.1 and localhost.
	Connect []string

	// TLS is what the page is served with; nil: without.
	TLS *tls.Config

	// MaxPerAddress is how many connections one IPv4 address, or IPv6 /64, may have open; 0: any number.
	MaxPerAddress int

	// Logger receives failed picks and tokens; default slog.Default().
	Logger *slog.Logger
}

// Handler returns the page's HTTP handler. It may be used by many goroutines. It panics without
// Options.Pick.
//
// The page is at "/", so that a mux which serves something else beside it keeps to longer patterns.
func Handler(o Options) http.Handler {
	if o.Pick == nil {
		panic("page: Options.Pick is nil")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // only for an invalid path
	}
	h := &handler{Options: o, people: newDirectory()}

	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("POST /pick", h.pick)
	mux.HandleFunc("POST /people", h.listPeople)
	if o.DemoTokens != nil {
		mux.HandleFunc("POST /demo", h.demo)
	}
	return guard(o, mux)
}

// handler answers the page's requests. Its methods may be called by many goroutines.
type handler struct {
	Options
	people *directory
}

// pick answers with the URL of an access server.
func (h *handler) pick(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pickTimeout)
	defer cancel()
	url, err := h.Pick(ctx)
	if err != nil {
		h.Logger.Warn("page: no access server", "err", err)
		fail(w, http.StatusServiceUnavailable, "no access server can take you right now")
		return
	}
	answer(w, map[string]string{"url": url})
}

// listPeople answers with the names that visitors gave, and with whether a name is enough to get in.
func (h *handler) listPeople(w http.ResponseWriter, r *http.Request) {
	answer(w, struct {
		Demo   bool     `json:"demo"`
		Lobby  string   `json:"lobby"`
		People []person `json:"people"`
	}{h.DemoTokens != nil, h.lobby(), h.people.list()})
}

// lobby is the group in which those meet who were let in by name, "" where nobody is.
func (h *handler) lobby() string {
	if h.DemoTokens == nil {
		return ""
	}
	return demoLobby
}

// demo lets a visitor in by name. The same name is the same user: the page is as open as the room it is
// shown in.
func (h *handler) demo(w http.ResponseWriter, r *http.Request) {
	if !fromHere(r) {
		fail(w, http.StatusForbidden, "names are enough on this machine only")
		return
	}
	var request struct {
		Name string `json:"name"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&request); err != nil {
		fail(w, http.StatusBadRequest, "that was no request of the page")
		return
	}
	who, err := h.people.enter(request.Name)
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	token, err := h.DemoTokens(who.ID)
	if err != nil {
		h.Logger.Error("page: no demo token", "user", who.ID, "err", err)
		fail(w, http.StatusInternalServerError, "no token could be made")
		return
	}
	answer(w, map[string]string{"id": strconv.FormatInt(who.ID, 10), "name": who.Name, "token": token})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// An error is the browser gone away, and nobody left to tell.
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// connectSources are the page's own and the access servers', as the policy lists them.
func (o *Options) connectSources() string {
	if len(o.Connect) == 0 {
		return "ws://127.0.0.1:* ws://localhost:*"
	}
	return strings.Join(o.Connect, " ")
}

func (o *Options) hosts() []string {
	if len(o.Hosts) == 0 {
		return []string{"127.0.0.1", "::1", "localhost"}
	}
	return o.Hosts
}
