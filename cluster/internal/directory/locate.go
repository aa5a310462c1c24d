package directory

import (
	"context"
	"errors"
	"time"
)

const (
	// settleWithin is how long Locate waits for the nodes to agree on who is alive, and for all to say whom they hold.
	settleWithin = time.Second

	// lookAgain is how long it waits for that before it asks again.
	lookAgain = 20 * time.Millisecond
)

// Locate returns the user's greatest login that a majority of the homes know, or that any does when a majority is late;
// or none, when a majority is certain that nobody holds the user. Errors: [ErrUnknown] when that is not certain; ctx's;
// the bus'; [ErrClosed].
func (d *Directory) Locate(ctx context.Context, token string) (Login, error) {
	for begun := time.Now(); ; {
		found, certain, err := d.look(ctx, token)
		switch {
		case errors.Is(err, errViewChanged):
			continue
		case err != nil:
			return Login{}, err
		case !found.none() || certain: // what one home knows is true, or was a moment ago
			return found, nil
		}
		if time.Since(begun) > settleWithin || d.missing() {
			return Login{}, ErrUnknown
		}
		if err := d.pause(ctx); err != nil {
			return Login{}, err
		}
	}
}

var errFound = errors.New("directory: found")

// look asks the homes once.
func (d *Directory) look(ctx context.Context, token string) (found Login, certain bool, err error) {
	d.mu.Lock()
	q := d.beginQuorumLocked(token)
	certain = d.silent == 0
	d.mu.Unlock()
	defer q.end()
	err = q.run(ctx, func(home string, _, late bool) error {
		if late && !found.none() {
			return errFound
		}
		return d.send(home, message{kind: kindLocate, call: q.call.number, entries: []entry{{token: token}}})
	}, func(m message) (bool, error) {
		if m.kind != kindLocated {
			return false, nil
		}
		if m.login.Compare(found) > 0 {
			found = m.login
		}
		certain = certain && m.flags&flagWhole != 0
		return true, nil
	})
	if err == errFound {
		err = nil
	}
	return found, certain, err
}

// missing reports whether some node may hold users and cannot be asked.
func (d *Directory) missing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.silent > 0
}

func (d *Directory) pause(ctx context.Context) error {
	d.mu.Lock()
	changed := d.changed
	d.mu.Unlock()
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closed:
		return ErrClosed
	}
	return nil
}
