package directory

import "time"

// Handle takes what another node has published for this one. It does not wait.
func (d *Directory) Handle(data []byte) {
	if m, err := decode(data); err == nil && m.from != d.self {
		d.handle(m)
	}
}

func (d *Directory) handle(m message) {
	d.mu.Lock()
	d.observeLocked(m.clock)
	d.mu.Unlock()
	switch m.kind {
	case kindRegister:
		d.handleRegister(m)
	case kindUnregister:
		d.handleUnregister(m)
	case kindLost:
		d.handleLost(m)
	case kindLocate:
		d.handleLocate(m)
	case kindAccepted, kindRefused, kindLocated:
		d.handleAnswer(m)
	case kindWant:
		d.handleWant(m)
	case kindDone:
		d.handleDone(m)
	}
}

// storeLocked notes a login unless a greater one is known. It returns the one that was known before, if that is
// another.
func (d *Directory) storeLocked(token string, l Login) (before Login, stored bool) {
	before = d.records[token]
	switch {
	case before.none():
		d.records[token] = l
		return Login{}, true
	case before.same(l):
		l.Number = max(l.Number, before.Number)
		d.records[token] = l
		return Login{}, true
	case before.Compare(l) > 0:
		return before, false
	}
	d.records[token] = l
	return before, true
}

// A meeting is two logins of a user that a home has heard of.
type meeting struct {
	token           string
	lesser, greater Login
}

func (d *Directory) handleRegister(m message) {
	var meetings []meeting
	answer := message{kind: kindAccepted, call: m.call}
	d.mu.Lock()
	if !d.meetLocked(m.from) {
		d.mu.Unlock()
		return
	}
	node := d.internLocked(m.from)
	for _, e := range m.entries {
		l := Login{e.number, node, e.session}
		d.heardLocked(node, e)
		if m.from == d.self && d.held[e.token].session != e.session {
			continue // it has ended meanwhile
		}
		switch before, stored := d.storeLocked(e.token, l); {
		case before.none():
			answer.login = d.replacedLocked(e.token, l) // asks again, perhaps because the answer was lost
		case stored:
			meetings = append(meetings, meeting{e.token, before, l})
		default:
			meetings = append(meetings, meeting{e.token, l, before})
		}
	}
	d.mu.Unlock()
	if m.call == 0 || m.flags&flagBatch != 0 {
		d.settleAll(meetings, m.login)
	} else if len(meetings) == 1 {
		d.answerMeeting(m, meetings[0])
		return
	}
	if m.call != 0 {
		_ = d.send(m.from, answer)
	}
}

const (
	// strangerFor is how long a login stays whose node is not in the view. A new node is heard within a heartbeat. One
	// that has left is not heard again, and what was under way when it left would stay for good: it takes back nothing.
	strangerFor = 2 * time.Second

	maxStrangers = 1024 // more are not listened to
)

// meetLocked notes a node that registers and is not in the view; it is false for one too many.
func (d *Directory) meetLocked(node string) bool {
	if node == d.self || d.view.has(node) {
		return true
	}
	if _, known := d.strangers[node]; known {
		return true
	}
	if len(d.strangers) >= maxStrangers {
		return false
	}
	d.strangers[node] = time.Now()
	return true
}

// forgetStrangersLocked forgets the logins of nodes that have not come into the view.
func (d *Directory) forgetStrangersLocked() {
	over := make(map[string]bool)
	for node, since := range d.strangers {
		if time.Since(since) > strangerFor {
			over[node] = true
			delete(d.strangers, node)
		}
	}
	if len(over) == 0 {
		return
	}
	for token, l := range d.records {
		if over[l.Node] {
			delete(d.records, token)
		}
	}
}

// internLocked returns a name that many records share.
func (d *Directory) internLocked(node string) string {
	for _, member := range d.view.members {
		if member == node {
			return member
		}
	}
	return node
}

// settleAll tells holders that they have lost users, but for the one that was told already.
func (d *Directory) settleAll(meetings []meeting, told Login) {
	for _, t := range meetings {
		if t.lesser.Node != t.greater.Node && !t.lesser.same(told) {
			d.tell(t.token, t.lesser, t.greater)
		}
	}
}

// answerMeeting answers a login that met another one.
func (d *Directory) answerMeeting(m message, t meeting) {
	switch {
	case t.lesser.Node == m.from && t.lesser.Session == m.entries[0].session:
		_ = d.send(m.from, message{kind: kindRefused, call: m.call, login: t.greater})
		d.remember(t.token, t.lesser, t.greater, false) // a majority may have had it before, and then nobody there waits for this
	case t.lesser.Node == m.from: // an earlier login there, which its node has closed
		_ = d.send(m.from, message{kind: kindAccepted, call: m.call})
	case m.flags&flagTell != 0:
		_ = d.send(t.lesser.Node, message{
			kind: kindLost, call: m.call, about: m.from, login: t.greater, entries: []entry{{token: t.token, session: t.lesser.Session}},
		})
		d.remember(t.token, t.lesser, t.greater, false)
	default:
		_ = d.send(m.from, message{kind: kindAccepted, call: m.call, login: t.lesser})
		d.remember(t.token, t.lesser, t.greater, true)
	}
}

func (d *Directory) handleUnregister(m message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range m.entries {
		d.heardLocked(m.from, e)
		if l := d.records[e.token]; l.Node == m.from && l.Number <= e.number && (e.session == 0 || e.session == l.Session) {
			delete(d.records, e.token)
		}
	}
}

// handleLost gives up a user to a greater login, and answers its node in the place of the home that told of it.
func (d *Directory) handleLost(m message) {
	token := m.entries[0].token
	lost, ours := d.lose(token, m.login)
	if ours.none() {
		d.noteHeard(m)
	}
	switch {
	case lost.session != 0:
		d.host.Replaced(token, lost.session)
	case !ours.none(): // ours is the greater one, and the home does not know
		_ = d.registerAs(m.from, message{}, token, ours)
		if m.call != 0 {
			_ = d.send(m.about, message{kind: kindRefused, call: m.call, about: m.from, login: ours})
		}
		return
	}
	if m.call != 0 {
		told := Login{Node: d.self, Session: m.entries[0].session}
		_ = d.send(m.about, message{kind: kindAccepted, call: m.call, about: m.from, login: told})
	}
}

// noteHeard has the next Tick say that a login has lost its user.
func (d *Directory) noteHeard(m message) {
	e := m.entries[0]
	e.number = m.login.Number
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard[m.from] = append(d.heard[m.from], e)
}

// lose decides between a login here and one elsewhere. A login that is still being registered is decided then.
func (d *Directory) lose(token string, by Login) (lost held, ours Login) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, ok := d.held[token]
	switch {
	case !ok || by.Node == d.self:
	case !h.settled:
		if by.Compare(h.greater) > 0 {
			h.greater = by
			d.held[token] = h
		}
	case by.Compare(d.login(h)) > 0:
		delete(d.held, token)
		return h, Login{}
	default:
		return held{}, d.login(h)
	}
	return held{}, Login{}
}

func (d *Directory) handleLocate(m message) {
	answer := message{kind: kindLocated, call: m.call}
	d.mu.Lock()
	answer.login = d.records[m.entries[0].token]
	if d.whole && d.silent == 0 && d.view.digest == m.digest {
		answer.flags = flagWhole
	}
	d.mu.Unlock()
	_ = d.send(m.from, answer)
}

func (d *Directory) handleWant(m message) {
	d.mu.Lock()
	d.wants[m.from] = m.call
	d.mu.Unlock()
	d.wake()
}

func (d *Directory) handleDone(m message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// An answer to an earlier question is of logins whose records went when the node left the view.
	if p, ok := d.members[m.from]; ok && p.owes == m.call {
		p.owes, p.done = 0, m.digest
		d.members[m.from] = p
		d.wholeLocked()
	}
}
