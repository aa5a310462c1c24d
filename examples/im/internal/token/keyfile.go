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

// ErrNoKeyFile is wrapped by what [ReadKeyFile] returns for a file that does not exist: no key is made by the way,
// because one that nobody else has makes tokens that nobody accepts.
var ErrNoKeyFile = errors.New("there is no key file")

// ReadKeyFile reads the key that all access servers of an installation share, in hex.
func ReadKeyFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s", ErrNoKeyFile, path)
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

// WriteKeyFile writes a key to a file that must not exist, readable for its owner only.
func WriteKeyFile(path string, key []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(key))
	return errors.Join(err, f.Close())
}
