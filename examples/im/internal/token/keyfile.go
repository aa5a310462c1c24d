package token

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// TrialLife is how long a token is good that is handed out for trying.
const TrialLife = 24 * time.Hour

// ReadKeyFile reads the key that all access servers of an installation share, in hex. A file that does not exist is made,
// with a new key, readable for its owner only.
func ReadKeyFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := NewKey()
		return key, WriteKeyFile(path, key)
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s does not hold a key in hex", path)
	}
	return key, nil
}

// WriteKeyFile writes a key to a file that must not exist.
func WriteKeyFile(path string, key []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(key))
	return errors.Join(err, f.Close())
}
