package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// runToken prints a token. In a real installation this is what a login service does, once it knows who
// asks.
func runToken(_ context.Context, args []string, std std) error {
	flags := newFlags("token", std)
	keyFile := flags.String("key-file", "", "`file` with the access servers' key")
	user := flags.Int64("user", 0, "the user's `id`, from 1 on")
	life := flags.Duration("for", token.TrialLife, "how long the token is good")
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

// readTokens makes the tokens of the key in a file.
func readTokens(path, legacySalt string) (*token.Tokens, error) {
	if path == "" {
		return nil, errors.New("-key-file is missing: the file with the key that all access servers share")
	}
	key, err := token.ReadKeyFile(path)
	if errors.Is(err, token.ErrNoKeyFile) {
		return nil, fmt.Errorf("%w: is the path right? im key -new %s makes one", err, path)
	}
	if err != nil {
		return nil, err
	}
	return token.New(key, legacySalt)
}
