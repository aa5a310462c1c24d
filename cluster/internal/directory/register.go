package directory

import (
	"context"
	"errors"
	"slices"
	"time"
)

// refusals is how often a login tries again above a greater one. The first may be of an earlier login with a number
// that this node had not heard of; what is greater after some is a login at the same time, and may as well be the later
// one.
const refusals = 4

// Hold begins a login: the session has the user on this node, in the place of any other. Register completes it.
func (d *Directory) Hold(token string, session uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[token] = held{number: d.nextLocked(), session: session}
}

// nextLocked returns a number that is greater than all that were heard of. The machine's clock decides nothing: where
// it is right, a login is seldom refused for one that its node has not heard of, and where it is wrong, more often.
func (d *Directory) nextLocked() uint64 {
	d.clock = min(max(d.clock+1, d.hint()), maxNumber)
	return d.clock
}

// Register returns nil when a majority of the user's homes know the login, and those that it replaced have lost the
// user, as far as their nodes answer. After an error the caller owes an Unhold. Errors: [ErrReplaced] by a greater
// login of another node; [ErrGone] when this node has given the session's user to another, or Unhold was called; ctx's;
// the bus'; [ErrClosed].
func (d *Directory) Register(ctx context.Context, token string, session uint64) error {
	for refused := 0; refused < refusals; {
		greater, err := d.propose(ctx, token, session)
		switch {
		case errors.Is(err, errViewChanged):
			continue
		case err != nil:
			return err
		case greater.none():
			return d.settle(token, session)
		}
		if err := d.above(token, session, greater); err != nil {
			return err
		}
		refused++
	}
	return ErrReplaced
}

// above gives a login a number that is greater than that of another.
func (d *Directory) above(token string, session uint64, other Login) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, ok := d.held[token]
	if !ok || h.session != session {
		return ErrGone
	}
	d.observeLocked(other.Number)
	h.number = max(d.nextLocked(), min(other.Number+1, maxNumber)) // of this user alone, if the other's is too far ahead
	d.held[token] = h
	return nil
}

// settle ends a login's registration, and decides between it and those that were heard of meanwhile.
func (d *Directory) settle(token string, session uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, ok := d.held[token]
	switch {
	case !ok || h.session != session:
		return ErrGone
	case h.greater.Compare(d.login(h)) > 0:
		delete(d.held, token)
		return ErrReplaced
	}
	h.settled, h.greater = true, Login{}
	d.held[token] = h
	return nil
}

var errRefused = errors.New("directory: a greater login is known")

// A proposal is one try to register a login.
type proposal struct {
	*quorum
	token   string
	login   Login
	told    Login   // who lost the user, and said so
	untold  []Login // who lost it and does not know
	greater Login
}

// propose registers the login under its present number, and returns a greater one that a home knows, if any.
func (d *Directory) propose(ctx context.Context, token string, session uint64) (greater Login, err error) {
	d.mu.Lock()
	h, ok := d.held[token]
	if !ok || h.session != session {
		d.mu.Unlock()
		return Login{}, ErrGone
	}
	p := &proposal{quorum: d.beginQuorumLocked(token), token: token, login: d.login(h)}
	d.mu.Unlock()
	defer p.end()
	switch err := p.run(ctx, p.ask, p.answer); {
	case err == errRefused:
		p.tellLater() // homes do not know them any more
		return p.greater, nil
	case err != nil:
		p.tellLater()
		return Login{}, err
	}
	if err := p.tellRest(ctx); err != nil {
		return Login{}, err
	}
	for _, home := range p.homes[p.asked:] {
		_ = d.registerAs(home, message{login: p.told}, token, p.login)
	}
	return Login{}, nil
}

// tellWithin is how long those who lose a user may take to hear of it when they have not answered by themselves.
const tellWithin = 250 * time.Millisecond

// tellRest tells those who do not know that they have lost the user, and waits for them: messages that begin after the
// login must not reach the session that it replaces.
func (p *proposal) tellRest(ctx context.Context) error {
	timer := time.NewTimer(tellWithin)
	defer timer.Stop()
	for _, l := range p.untold {
		if l.same(p.told) {
			continue
		}
		_ = p.d.send(l.Node, message{
			kind: kindLost, call: p.call.number, about: p.d.self, login: p.login, entries: []entry{{token: p.token, session: l.Session}},
		})
		for waiting := true; waiting; {
			select {
			case m := <-p.call.answers:
				waiting = m.login.Node != l.Node || m.about == ""
			case <-timer.C:
				p.tellLater()
				return nil
			case <-ctx.Done():
				return ctx.Err()
			case <-p.d.closed:
				return ErrClosed
			}
		}
		p.told = l
	}
	return nil
}

// tellLater has those told who do not know yet, for as long as it takes.
func (p *proposal) tellLater() {
	for _, l := range p.untold {
		if !l.same(p.told) {
			p.d.tell(p.token, l, p.login)
		}
	}
}

// ask has the first home tell whom the login replaces, who then answers: a login that waits for it is true for all.
// When that takes too long, homes answer for themselves.
func (p *proposal) ask(home string, first, _ bool) error {
	m := message{call: p.call.number}
	if first {
		m.flags = flagTell
	}
	return p.d.registerAs(home, m, p.token, p.login)
}

// answer ends the proposal when a greater login is known.
func (p *proposal) answer(m message) (bool, error) {
	switch {
	case m.kind == kindRefused:
		p.greater = m.login
		return false, errRefused
	case m.kind != kindAccepted:
		return false, nil
	case m.about != "":
		p.told = m.login
	case !m.login.none() && m.login.Node != p.d.self:
		p.untold = append(p.untold, m.login)
	}
	return true, nil
}

// registerAs fails when the session no longer has the user: then nothing of it may follow what withdraws it.
func (d *Directory) registerAs(home string, m message, token string, l Login) error {
	m.kind, m.entries = kindRegister, []entry{{token, l.Session, l.Number}}
	if home == d.self { // handleRegister looks itself
		return d.send(home, m)
	}
	d.sending.Lock()
	defer d.sending.Unlock()
	d.mu.Lock()
	h, ok := d.held[token]
	d.mu.Unlock()
	if !ok || h.session != l.Session {
		return ErrGone
	}
	return d.send(home, m)
}

// Unhold ends a login, unless it has lost the user, or another session has taken its place: then the homes know
// already.
func (d *Directory) Unhold(token string, session uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h, ok := d.held[token]; ok && h.session == session {
		delete(d.held, token)
		d.endLocked(entry{token, session, h.number})
	}
}

// UnholdAll ends all logins of this node.
func (d *Directory) UnholdAll() {
	d.mu.Lock()
	for token, h := range d.held {
		d.ended = append(d.ended, entry{token, h.session, h.number})
	}
	clear(d.held)
	d.mu.Unlock()
	d.withdraw()
}

// Disown is for a node that was asked for a user and has none: a home must have missed its end. A token that no home
// takes is ignored.
func (d *Directory) Disown(token string) {
	if len(token) > maxToken {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.held[token]; !ok {
		d.endLocked(entry{token: token, number: d.nextLocked()})
	}
}

// endLocked has the homes told of a login that has ended: soon, with all that end meanwhile.
func (d *Directory) endLocked(e entry) {
	d.ended = append(d.ended, e)
	select {
	case d.ending <- struct{}{}:
	default:
	}
}

func (d *Directory) withdrawLoop(ctx context.Context) {
	for {
		select {
		case <-d.ending:
			d.withdraw()
		case <-ctx.Done():
			return
		case <-d.closed:
			return
		}
	}
}

// withdraw tells the homes of logins that have ended.
func (d *Directory) withdraw() {
	d.mu.Lock()
	ended, view := d.ended, d.view
	d.ended = nil
	d.mu.Unlock()
	byHome := make(map[string][]entry)
	for _, e := range ended {
		h := view.homes(e.token)
		for _, home := range h.list() {
			byHome[home] = append(byHome[home], e)
		}
	}
	d.sending.Lock()
	defer d.sending.Unlock()
	for home, entries := range byHome {
		for batch := range slices.Chunk(entries, batchSize) {
			_ = d.send(home, message{kind: kindUnregister, entries: batch})
		}
	}
}
