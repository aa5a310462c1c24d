package resume

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
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

// key is what a server's sessions are found by: a part of the hash, of which the rest is compared.
func (h tokenHash) key() uint64 { return binary.LittleEndian.Uint64(h[:]) }

func (t token) hash() tokenHash {
	sum := sha256.Sum256(t[:])
	return tokenHash(sum[:tokenSize])
}
