package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// tokenLife is how long a token is good that is handed out for trying.
const tokenLife = 24 * time.Hour

// readKey reads the key that all access servers share, in hex. A file that is not there is made, with a
// new key, readable for its owner only.
func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := token.NewKey()
		return key, writeKey(path, key)
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

func writeKey(path string, key []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(key))
	return errors.Join(err, f.Close())
}

// readTokens makes the tokens of the key in a file.
func readTokens(path, legacySalt string) (*token.Tokens, error) {
	if path == "" {
		return nil, errors.New("-key-file is missing: the file with the key that all access servers share")
	}
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	return token.New(key, legacySalt)
}

// runToken prints a token. In a real installation this is what a login service does, once it knows who
// asks.
func runToken(_ context.Context, args []string, std std) error {
	flags := newFlags("token", std)
	keyFile := flags.String("key-file", "", "`file` with the access servers' key")
	user := flags.Int64("user", 0, "the user's `id`, from 1 on")
	life := flags.Duration("for", tokenLife, "how long the token is good")
	if err := flags.parse(args); err != nil {
		return err
	}
	if *user < 1 {
		return errors.New("-user is missing: a number from 1 on")
	}
	if *life <= 0 {
		return fmt.Errorf("-for %v: such a token would have ended already", *life)
	}
	tokens, err := readTokens(*keyFile, "")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, tokens.Issue(*user, *life))
	return err
}
