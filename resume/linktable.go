package resume

import (
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
)

// A linkTable finds the link of a server's connection, in event mode once for all that one read has brought. It takes a
// third of the memory that a sync.Map takes.
type linkTable [16]linkShard

type linkShard struct {
	mu lock.RWMutex[linksLock]
	// mu guards the following.
	links map[*libnet.Session]*link
}

func (t *linkTable) shard(conn *libnet.Session) *linkShard { return &t[conn.ID()%uint64(len(t))] }

func (t *linkTable) get(conn *libnet.Session) *link {
	s := t.shard(conn)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.links[conn]
}

// put does nothing for a connection that has left already.
func (t *linkTable) put(conn *libnet.Session, l *link) {
	s := t.shard(conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn.IsClosed() {
		return
	}
	if s.links == nil {
		s.links = make(map[*libnet.Session]*link)
	}
	s.links[conn] = l
}

func (t *linkTable) remove(conn *libnet.Session) {
	s := t.shard(conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links, conn)
}
