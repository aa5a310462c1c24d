package directory_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
)

// subjects notes whom a directory publishes to.
type subjects struct {
	mu    sync.Mutex
	names []string
}

func (s *subjects) Publish(node string, _ []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, node)
	return nil
}

// A node's name is part of a subject, which the NATS client writes as it is: a line end would begin a command of the
// sender's.
func TestNamesOfNodesThatCannotBePartOfASubjectAreRefused(t *testing.T) {
	for _, name := range []string{"a b", "A\r\nPUB", "*", ">", "A.B", "\x00", "Ä"} {
		for _, text := range []string{
			"Q\x00%s\x05\x01\x00\x00\x00\x07\x00\x00\x00\x00\x01\x01u\x00\x00",     // from, who is answered
			"L\x00\x02N1\x05\x01\x00\x00\x00\x07%s\x02N1\x02\x09\x01\x01u\x01\x00", // about, who waits
			"R\x00\x02N1\x05\x01\x00\x00\x00\x07\x00%s\x02\x09\x01\x01u\x01\x00",   // login's
		} {
			bus := new(subjects)
			d := directory.New("N0", bus, nobody{})
			d.SetView([]string{"N0", "N1"}, 0)
			before := len(bus.names)
			d.Handle([]byte(fmt.Sprintf(text, fmt.Sprintf("%c%s", len(name), name))))
			if len(bus.names) > before {
				t.Errorf("%q was taken from %q: published to %q", name, text, bus.names[before:])
			}
		}
	}
}

// A login that is under way when its node leaves may arrive behind that: nobody would ever take it back.
func TestALoginOfANodeThatIsNotThereIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directory.New("N0", new(subjects), nobody{})
		defer d.Close()
		go d.Run(t.Context())
		d.SetView([]string{"N0", "N1"}, 0)
		d.SetView([]string{"N0"}, 0)
		d.Handle([]byte("R\x00\x02N1\x05\x01\x00\x00\x00\x07\x00\x00\x00\x00\x01\x01u\x01\x05"))
		for range 10 {
			time.Sleep(beat)
			d.Tick()
		}
		if l, err := d.Locate(t.Context(), "u"); err != nil || l.Node != "" {
			t.Errorf("the user is said to be at %+v, %v", l, err)
		}
		if _, records := d.Stats(); records > 0 {
			t.Errorf("%d logins are kept", records)
		}
	})
}

// A node that is heard for the first time just after its login keeps it.
func TestALoginOfANodeThatIsAboutToComeStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directory.New("N0", new(subjects), nobody{})
		d.Handle([]byte("R\x00\x02N1\x05\x01\x00\x00\x00\x07\x00\x00\x00\x00\x01\x01u\x01\x05"))
		time.Sleep(beat)
		d.Tick()
		d.SetView([]string{"N0", "N1"}, 0)
		for range 10 {
			time.Sleep(beat)
			d.Tick()
		}
		if _, records := d.Stats(); records != 1 {
			t.Errorf("%d logins are kept, want 1", records)
		}
	})
}

// The greatest number that a message may have leaves none for later logins: each would be refused for good, or be won
// by whose name is greater.
func TestAMessageWithTheGreatestNumberTakesNoLaterLoginFromAnybody(t *testing.T) {
	greatest := string(binary.AppendUvarint(nil, 1<<62))
	for what, text := range map[string]string{
		"clock":              "Q\x00\x02XX" + greatest + "\x00\x00\x00\x00\x07\x00\x00\x00\x00\x01\x01u\x00\x00",
		"login of another":   "R\x00\x02XX\x05\x00\x00\x00\x00\x07\x00\x00\x00\x00\x01\x06victim\x01" + greatest,
		"loss":               "L\x00\x02XX\x05\x00\x00\x00\x00\x07\x00\x02XX\x01" + greatest + "\x01\x06victim\x01\x00",
		"refusal of a login": "F\x00\x02XX\x05\x01\x00\x00\x00\x07\x00\x02XX\x01" + greatest + "\x00",
	} {
		inBubble(t, 1, func(t *testing.T, n *network) {
			nodes := n.mesh(3)
			for _, d := range nodes {
				d.Handle([]byte(text))
			}
			if _, err := nodes[0].login("victim"); err != nil && !errors.Is(err, directory.ErrReplaced) { // it hears of the number
				t.Fatal(err)
			}
			for i := range 10 {
				user := fmt.Sprint("u", i)
				for _, at := range []*node{nodes[2], nodes[0], nodes[1], nodes[0], nodes[2]} {
					if _, err := at.login(user); err != nil {
						t.Fatalf("%s: %s on %s: %v", what, user, at.name, err)
					}
					wantAt(t, nodes, user, at)
				}
			}
			time.Sleep(5 * time.Second) // the node that sent it is not there
			if _, err := nodes[0].login("victim"); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			wantAt(t, nodes, "victim", nodes[0])
		})
	}
}

// Homes refuse a message with a token that no name has, and all other logins that have ended with it.
func TestATokenThatNoNameHasIsNotDisowned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(subjects)
		d := directory.New("N0", bus, nobody{})
		d.SetView([]string{"N0", "N1"}, 0)
		before := len(bus.names)
		go d.Run(t.Context())
		d.Disown(strings.Repeat("x", 600))
		synctest.Wait()
		bus.mu.Lock()
		defer bus.mu.Unlock()
		if len(bus.names) > before {
			t.Errorf("published %d messages", len(bus.names)-before)
		}
		d.Close()
	})
}
