// Package token makes and checks what a client proves its user id with: a message authentication code
// (HMAC-SHA256) over the id and the time at which the token ends.
//
//	tokens, err := token.New(key, "")
//	t := tokens.Issue(4711, 24*time.Hour)
//	err = tokens.Check(4711, t)
//
// A token is a bearer's: it says nothing about who shows it, so it belongs on connections that nobody
// listens to. There is no list of revoked ones; a new key ends all.
//
// When a token ends is told by the clocks of two machines, that which made it and that which checks it. They may differ
// by [Skew]: a token is accepted for so long after its end. A server whose clock is further ahead refuses tokens too
// early, and one whose clock is behind accepts them for longer, by as much as it is wrong.
package token

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MinKey is the length in bytes of the shortest key that [New] takes.
const MinKey = 16

// Skew is how long a token is accepted after its end, because clocks differ.
const Skew = time.Minute

// Forever is what [Tokens.Check] returns for a token without an end.
const Forever time.Duration = math.MaxInt64

// maxToken is longer than any token: two decimal numbers, a code of 43 characters and two dots.
const maxToken = 128

var (
	// ErrMissing is returned by [Tokens.Check] for an empty token, and for a user id that cannot be one: code 93001 on
	// the wire.
	ErrMissing = errors.New("token: none given")

	// ErrWrong is wrapped by what [Tokens.Check] returns for a token that is not, or no longer, this
	// user's: code 93002 on the wire. The text beyond it is for the log, not for the client.
	ErrWrong = errors.New("token: wrong")
)

// Tokens makes and checks tokens with one key. It never changes; any goroutine may use it.
type Tokens struct {
	key        []byte
	legacySalt string
	now        func() time.Time
}

// New returns Tokens with a key of at least [MinKey] bytes, which every server of an installation shares.
//
// With a legacySalt, tokens of the old form are accepted as well: the hex MD5 of the decimal user id and the
// salt. Such a token never ends, and whoever has one can find a weak salt by trying. "" accepts none.
func New(key []byte, legacySalt string) (*Tokens, error) {
	if len(key) < MinKey {
		return nil, fmt.Errorf("token: a key of %d bytes; %d are the least", len(key), MinKey)
	}
	return &Tokens{key: append([]byte(nil), key...), legacySalt: legacySalt, now: time.Now}, nil
}

// NewKey returns a random key.
func NewKey() []byte {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails
	return key
}

// At returns the same Tokens with another clock, for tests.
func (t *Tokens) At(now func() time.Time) *Tokens {
	return &Tokens{key: t.key, legacySalt: t.legacySalt, now: now}
}

// Issue returns a token with which user can log in for the time ttl, counted in whole seconds.
func (t *Tokens) Issue(user int64, ttl time.Duration) string {
	ends := t.now().Add(ttl).Unix()
	return t.sign(strconv.FormatInt(user, 10) + "." + strconv.FormatInt(ends, 10))
}

// Check returns for how long token is accepted as user's from now on, which is more than 0 and [Forever] at the most.
// Its error is [ErrMissing] for a token of "" and for a user below 0, and else wraps [ErrWrong]. How long it takes does
// not depend on how much of a wrong code is right.
func (t *Tokens) Check(user int64, token string) (left time.Duration, err error) {
	switch {
	case token == "", user < 0:
		return 0, ErrMissing
	case user == 0:
		return 0, fmt.Errorf("%w: user ids are positive", ErrWrong)
	case len(token) > maxToken:
		return 0, fmt.Errorf("%w: %d bytes", ErrWrong, len(token))
	}
	claim, _, ok := cutLast(token, ".")
	if !ok {
		return Forever, t.checkLegacy(user, token)
	}
	if !hmac.Equal([]byte(t.sign(claim)), []byte(token)) {
		return 0, fmt.Errorf("%w: not made with this key", ErrWrong)
	}
	// From here on the claim is our own.
	id, ends, _ := strings.Cut(claim, ".")
	if id != strconv.FormatInt(user, 10) {
		return 0, fmt.Errorf("%w: another user's", ErrWrong)
	}
	second, err := strconv.ParseInt(ends, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	if left = time.Unix(second, 0).Add(Skew).Sub(t.now()); left <= 0 {
		return 0, fmt.Errorf("%w: it has ended", ErrWrong)
	}
	return left, nil
}

// Fingerprint is what can be told of the key without giving it away: two Tokens with the same one accept each other's.
func (t *Tokens) Fingerprint() string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte("im key fingerprint"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

func (t *Tokens) sign(claim string) string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte("im login ")) // the same key may sign other things
	mac.Write([]byte(claim))
	return claim + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (t *Tokens) checkLegacy(user int64, token string) error {
	if t.legacySalt == "" {
		return fmt.Errorf("%w: of no form that is accepted", ErrWrong)
	}
	sum := md5.Sum([]byte(strconv.FormatInt(user, 10) + t.legacySalt))
	given, err := hex.DecodeString(token)
	if err != nil || subtle.ConstantTimeCompare(sum[:], given) != 1 {
		return fmt.Errorf("%w: not made with this salt", ErrWrong)
	}
	return nil
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
