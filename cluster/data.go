package cluster

import (
	"context"
	"maps"
	"slices"

	"github.com/libnet-go/libnet"
)

// MaxData is how many bytes the keys and values of BindOptions.Data may have together.
const MaxData = 1024

// BindOptions say more about a login.
type BindOptions struct {
	// Data is shown by [Node.Online] and [Node.Members] beside the session: which device it is, what its user may do.
	// Valid UTF-8 up to [MaxData]; the caller may change it afterwards.
	Data map[string]string
}

// BindWith is [Node.Bind] of a login about which there is more to say. Binding a session to its user again replaces its
// data; Bind leaves it. Errors: [ErrTooLarge] for data over [MaxData], and those of Bind.
func (n *Node) BindWith(ctx context.Context, s *libnet.Session, user string, o BindOptions) error {
	if sizeOf(o.Data) > MaxData {
		needContext(ctx)
		return ErrTooLarge
	}
	data := maps.Clone(o.Data)
	if data == nil {
		data = make(map[string]string)
	}
	return n.bind(ctx, s, user, data)
}

func sizeOf(data map[string]string) (bytes int) {
	for key, value := range data {
		bytes += len(key) + len(value)
	}
	return bytes
}

// describe gives a binding data, unless that is nil. A map is never changed once a binding has it.
func (d *dispatcher) describe(b *binding, data map[string]string) {
	if data == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b.data = data
}

func (d *dispatcher) dataOf(b *binding) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return b.data
}

// member is what is known of a member of a group: its users' names are sorted, and the data is that of the first of
// them.
func (d *dispatcher) member(session uint64) Member {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := Member{Presence: d.node.presence(session, "")}
	a := d.sessions[session]
	if a == nil {
		return m
	}
	m.Addr = a.addr
	for _, b := range a.users {
		name := nameOf(b.token)
		if len(m.Users) == 0 || name < slices.Min(m.Users) {
			m.Data = b.data
		}
		m.Users = append(m.Users, name)
	}
	slices.Sort(m.Users)
	m.Users = m.Users[:min(len(m.Users), maxMemberUsers)]
	return m
}
