package directory

// A telling is a node that was told that it has lost a user, and has not said that it has heard so. It is told again:
// what is on a route that breaks and is back before anybody notices is lost, and two sessions of the user would stay.
// Those who have heard it say so with the next Tick, of all users at once.
type telling struct {
	token string
	loser Login
	by    Login
	quiet bool // the node of the greater login tells: this is for when it asks again whom that has replaced
	ticks int
}

const (
	// tellAgain is after how many Ticks of this node all others have had one.
	tellAgain = 3

	// quietFor is for how many Ticks a login may ask again.
	quietFor = 20

	// tellFor is for how many a node may be away, two minutes: its next run has no such session. maxTellings is how
	// many wait.
	tellFor     = 240
	maxTellings = 1 << 16
)

// tell tells a node that it has lost a user.
func (d *Directory) tell(token string, loser, by Login) {
	d.remember(token, loser, by, false)
	d.sendLost(token, loser, by)
}

// remember has a node told again that was told already, or, if quiet, by the node of the greater login.
func (d *Directory) remember(token string, loser, by Login, quiet bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.tellings) < maxTellings {
		d.tellings[token] = append(d.tellings[token], telling{token: token, loser: loser, by: by, quiet: quiet})
	}
}

// replacedLocked returns a login that another one has replaced here, and whose node may not know.
func (d *Directory) replacedLocked(token string, by Login) Login {
	for _, t := range d.tellings[token] {
		if t.by.same(by) {
			return t.loser
		}
	}
	return Login{}
}

func (d *Directory) sendLost(token string, loser, by Login) {
	_ = d.send(loser.Node, message{kind: kindLost, login: by, entries: []entry{{token: token, session: loser.Session}}})
}

// unheardLocked returns who is to be told again. Those who have left the view are told when they are back.
func (d *Directory) unheardLocked() (again []telling) {
	for token := range d.tellings {
		d.keepTellingsLocked(token, func(t *telling) bool {
			t.ticks++
			if !t.quiet && t.ticks%tellAgain == 0 && d.view.has(t.loser.Node) {
				again = append(again, *t)
			}
			return t.ticks <= tellFor && !(t.quiet && t.ticks > quietFor)
		})
	}
	return again
}

// heardLocked notes that a node knows of the end of a login, or registers it with a number of which it is seen anew who
// has lost.
func (d *Directory) heardLocked(node string, e entry) {
	d.keepTellingsLocked(e.token, func(t *telling) bool { return t.loser.Node != node || t.loser.Session != e.session })
}

func (d *Directory) keepTellingsLocked(token string, stays func(*telling) bool) {
	all := d.tellings[token]
	if len(all) == 0 {
		return
	}
	kept := all[:0]
	for i := range all {
		if stays(&all[i]) {
			kept = append(kept, all[i])
		}
	}
	if d.tellings[token] = kept; len(kept) == 0 {
		delete(d.tellings, token)
	}
}

// sayHeard answers those who have told of users that were lost.
func (d *Directory) sayHeard(heard map[string][]entry) {
	for teller, entries := range heard {
		_ = d.send(teller, message{kind: kindUnregister, entries: entries})
	}
}
