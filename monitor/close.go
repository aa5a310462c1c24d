package monitor

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/libnet-go/libnet"
)

// errByOperator is the reason of a session that was closed from the page.
var errByOperator = fmt.Errorf("%w: from the monitor", libnet.ErrSessionClosed)

// maxForm is ample for a form of three short values, the longest body that any request has.
const maxForm = 1 << 10

// serveClose closes a session. Unlike all else here it changes something, so it takes more: somebody who was
// authorized, a method that no link, image or prefetch uses, and a page of the monitor's own.
func (m *monitor) serveClose(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost:
		refuseMethod(w, "POST")
		return
	case m.Authorize == nil:
		http.Error(w, "Sessions are closed from here only where Options.Authorize is set.", http.StatusForbidden)
		return
	case !isSameOrigin(r):
		http.Error(w, "This request comes from another origin.", http.StatusForbidden)
		return
	}
	id, err := strconv.ParseUint(r.PostFormValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "The form's id is not a session's number.", http.StatusBadRequest)
		return
	}
	if !m.closeSession(id) {
		http.Error(w, fmt.Sprintf("Session %d is not open.", id), http.StatusNotFound)
		return
	}
	back, query := "./", make(url.Values)
	for _, name := range []string{"sort", "find"} {
		if value := r.PostFormValue(name); value != "" {
			query.Set(name, value)
		}
	}
	if len(query) > 0 {
		back += "?" + query.Encode()
	}
	w.Header().Set("Location", back+"#sessions") // not http.Redirect, which would undo a prefix's removal
	w.WriteHeader(http.StatusSeeOther)
}

// closeSession reports whether there is such a session. Its end runs callbacks, which may take their time; it is
// closed before they have returned.
func (m *monitor) closeSession(id uint64) bool {
	s := m.find(id)
	if s == nil {
		return false
	}
	err, _ := call(&m.outside, "callbacks of a session", optionPatience, func() error { return s.CloseWithError(errByOperator) })
	return err != libnet.ErrSessionClosed
}

// find looks through all: in a drain, Manager.GetSession does not find any more what is still closing.
func (m *monitor) find(id uint64) *libnet.Session {
	for s := range m.server.Manager().All() {
		if s.ID() == id {
			return s
		}
	}
	return nil
}
