package cluster

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// MaxName is the largest length of a user, group, node or cluster name in bytes.
const MaxName = 256

// A token is a name as part of a subject. Names are the users' own, and the NATS client lets wildcards
// through: a user called ">" would hear everybody's messages.
func token(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// nameOf is the name that a token of this node was made of.
func nameOf(token string) string {
	name, _ := base64.RawURLEncoding.DecodeString(token)
	return string(name)
}

func checkedToken(name string) (string, error) {
	if name == "" || len(name) > MaxName {
		return "", fmt.Errorf("%w: %d bytes, want 1 to %d", ErrInvalidName, len(name), MaxName)
	}
	return token(name), nil
}

// The letter after a subject's prefix says what the subject is.
const (
	userLetter  = 'u' // u.<user>: messages and questions to a user
	groupLetter = 'g' // g.<group>: messages to a group
	nodeLetter  = 'n' // n.<instance>: questions to a node, in one of its runs
	pingLetter  = 'p' // p.<instance>: a barrier asks a node
	toldLetter  = 'd' // d.<instance>: what nodes tell each other of nodes and logins
	atLetter    = 'a' // a.<instance>.<user>: messages and questions to a user on a node that is known to hold it
)

// subjects are the names that nodes of one cluster agree on.
type subjects struct {
	prefix     string
	heartbeats string // each node's announcements
	hellos     string // a new node asks the others to announce themselves
	replies    string // answers to this node begin with it; the call's number follows
	ping       string
	here       string // messages to users of this node, whoever they are
}

func newSubjects(cluster, instance string) subjects {
	prefix := "libnet." + token(cluster) + "."
	return subjects{
		prefix:     prefix,
		heartbeats: prefix + "h",
		hellos:     prefix + "hello",
		replies:    prefix + "r." + instance + ".",
		ping:       prefix + "p." + instance,
		here:       prefix + "a." + instance + ".*",
	}
}

func (s *subjects) user(token string) string      { return s.prefix + "u." + token }
func (s *subjects) group(token string) string     { return s.prefix + "g." + token }
func (s *subjects) service(token string) string   { return s.prefix + "q." + token }
func (s *subjects) nodeOf(instance string) string { return s.prefix + "n." + instance }
func (s *subjects) pingOf(instance string) string { return s.prefix + "p." + instance }

func (s *subjects) told(instance string) string { return s.prefix + "d." + instance }
func (s *subjects) at(instance, token string) string {
	return s.prefix + "a." + instance + "." + token
}

// serviceQueue is the queue group of all nodes that serve a service.
const serviceQueue = "q"

// parse takes a subject of a dispatcher apart.
func (s *subjects) parse(subject string) (letter byte, token string) {
	letter, token = subject[len(s.prefix)], subject[len(s.prefix)+2:]
	if letter == atLetter {
		_, token, _ = strings.Cut(token, ".")
	}
	return letter, token
}
