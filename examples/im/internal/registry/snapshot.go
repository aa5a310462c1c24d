package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Server is one access server, as it describes itself.
type Server struct {
	ID        string `json:"id"`                  // unique; part of the key
	Addr      string `json:"addr"`                // host:port that clients dial
	WebSocket string `json:"websocket,omitempty"` // URL that browsers dial; empty: none
	Capacity  int    `json:"capacity"`            // sessions that the server is made for; a weight, at least 1
	Sessions  int    `json:"sessions"`            // as of the report
	Draining  bool   `json:"draining,omitempty"`  // it takes no more clients
	Cut       bool   `json:"cut,omitempty"`       // it cannot serve clients now: NATS does not answer it

	// Report is the etcd revision of the report: it grows with every one. A server that registers
	// leaves it 0.
	Report int64 `json:"-"`
}

// Takes reports whether clients should be sent to the server.
func (s Server) Takes() bool { return !s.Draining && !s.Cut }

func decodeServer(value []byte, revision int64) (Server, error) {
	var s Server
	if err := json.Unmarshal(value, &s); err != nil {
		return Server{}, err
	}
	if s.ID == "" || s.Addr == "" {
		return Server{}, errors.New("no id or no address")
	}
	if s.Capacity < 1 || s.Sessions < 0 {
		return Server{}, fmt.Errorf("%d sessions of %d", s.Sessions, s.Capacity)
	}
	s.Report = revision
	return s, nil
}

// Snapshot is the list of servers at one moment. It never changes: any goroutine may read it for as
// long as it likes, while the watcher makes the next one.
type Snapshot struct {
	servers  []Server // ascending by ID
	revision int64
}

// SnapshotOf returns a list of these servers, for who has one from elsewhere. It sorts a copy.
func SnapshotOf(servers ...Server) *Snapshot {
	servers = slices.Clone(servers)
	slices.SortFunc(servers, byID)
	return &Snapshot{servers: servers}
}

func byID(a, b Server) int { return cmp.Compare(a.ID, b.ID) }

func newSnapshot(known map[string]entry, revision int64) *Snapshot {
	servers := make([]Server, 0, len(known))
	for _, e := range known {
		if !e.invalid {
			servers = append(servers, e.server)
		}
	}
	slices.SortFunc(servers, byID)
	return &Snapshot{servers, revision}
}

// Len is the number of servers, draining ones included.
func (s *Snapshot) Len() int { return len(s.servers) }

// All yields the servers in ascending order of their ids.
func (s *Snapshot) All() iter.Seq[Server] { return slices.Values(s.servers) }

// Get returns the server with this id.
func (s *Snapshot) Get(id string) (Server, bool) {
	i, ok := slices.BinarySearchFunc(s.servers, id, func(s Server, id string) int { return cmp.Compare(s.ID, id) })
	if !ok {
		return Server{}, false
	}
	return s.servers[i], true
}

// Revision is the etcd revision up to which the list is known to be true.
func (s *Snapshot) Revision() int64 { return s.revision }
