package monitor

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/resumable"
)

// Options say what a monitor shows and to whom. The zero value answers this machine only, and hides addresses.
//
// The functions of Groups and Gauges may be called by many goroutines at a time, with each answer that has them: the
// page, /varz and /metrics. One that panics, or has not returned within a second, is left out, and is not called while
// an earlier call has not returned.
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

	// RemoteAddrs shows the addresses of peers, and lets sessions be searched for by them.
	RemoteAddrs bool

	// ErrorTexts shows with what error each of the last sessions ended: a reason of the program's, or what the
	// transport says. Such a text may quote what the peer has sent, and its address. It is shown on one line, with
	// escapes, and is 256 bytes at most.
	ErrorTexts bool

	// Name is the server's, where there are several: it is on the page, in Varz, and the label server of each of
	// libnet's metrics. The default is none, and no label.
	Name string

	// Others are further servers of the program, by their names: /metrics has their numbers, too. They need Name to be
	// set.
	Others map[string]*libnet.Server

	// Groups are what the program wants counted beside its sessions, by name; a [libnet.Group]'s Len is such a
	// function, and so is that of [libnet.Groups]. At most 100.
	Groups map[string]func() int

	// Gauges are further numbers of the program's. At most 100.
	Gauges []Gauge

	// Resume, if set, is a *resume.Server, whose sessions are shown, too, those without a connection among them: on the
	// page, in /resumez, and their numbers in /metrics.
	Resume resumable.Source
}

// A Gauge is a number of the program's that the monitor shows: on the page, in Varz, and as a metric.
type Gauge struct {
	Name  string         // as Prometheus has it: letters, digits and _, and not libnet_ at the beginning
	Help  string         // a sentence
	Value func() float64 // as for Options.Groups
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
