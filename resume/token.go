package resume

import (
	"crypto/rand"
	"crypto/sha256"
)

const tokenSize = 16

// A token is what a client resumes its session with: 128 random bits.
type token [tokenSize]byte

func newToken() (t token) {
	_, _ = rand.Read(t[:]) // it never fails
	return t
}

// A tokenHash is what a server keeps of a token, and looks a session up by. How long a look-up takes says something of
// hashes, and nothing of tokens: nobody can choose a token whose hash is near another's.
type tokenHash [tokenSize]byte

func (t token) hash() tokenHash {
	sum := sha256.Sum256(t[:])
	return tokenHash(sum[:tokenSize])
}
