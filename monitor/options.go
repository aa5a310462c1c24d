package monitor

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// Options say what a monitor shows and to whom. The zero value answers this machine only, and hides addresses.
type Options struct {
	// Authorize, if set, is asked about every request but those of /healthz and /readyz, which say one
	// word; false answers 401 with a challenge for a password, a panic or no answer within 10 s 503. It may be
	// called by many goroutines at a time, and reads a body of at most 1 KiB. With it, and only then, a monitor
	// may be reached from other machines and close sessions; it can tell a closing by its method, POST. See
	// [BasicAuth].
	Authorize func(*http.Request) bool

	// Hosts are names that requests may use for the monitor beside loopback ones and the address itself:
	// "name" with any port, or "name:port", which a request may leave out where it is 80 or 443. An address of
	// IPv6 is in brackets if it has a port. A proxy in front of the monitor makes one necessary.
	Hosts []string

	// Ready, if set, has a say in /readyz beside Server.Stopping: false answers 503. A server says so some time
	// before its Shutdown, for balancers to notice while it still accepts. It may be called by many
	// goroutines at a time; a panic, or no answer within 10 s, is a no.
	Ready func() bool

	// RemoteAddrs shows the addresses of peers.
	RemoteAddrs bool
}

// BasicAuth returns an [Options.Authorize] that asks for a user's name and a password (RFC 7617). The time
// that it takes does not tell how much of them was right. They travel in the clear: use it over TLS, with
// [Handler] in an http.Server of your own, or over a network that is yours. It panics without a password.
func BasicAuth(user, password string) func(*http.Request) bool {
	if password == "" {
		panic("libnet: BasicAuth without a password")
	}
	wantUser, wantPassword := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	return func(r *http.Request) bool {
		gotUser, gotPassword, ok := r.BasicAuth()
		u, p := sha256.Sum256([]byte(gotUser)), sha256.Sum256([]byte(gotPassword))
		same := subtle.ConstantTimeCompare(u[:], wantUser[:]) & subtle.ConstantTimeCompare(p[:], wantPassword[:])
		return ok && same == 1
	}
}
