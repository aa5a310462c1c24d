package token_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/token"
)

func TestAKeyIsMadeOnlyWhenToldOnceAndForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if _, err := token.ReadKeyFile(file); !errors.Is(err, token.ErrNoKeyFile) {
		t.Errorf("without a file: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading has left a file: %v", err)
	}
	key := token.NewKey()
	if err := token.WriteKeyFile(file, key); err != nil {
		t.Fatal(err)
	}
	if again, err := token.ReadKeyFile(file); err != nil || string(again) != string(key) {
		t.Errorf("another key: %v", err)
	}
	if err := token.WriteKeyFile(file, token.NewKey()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over the first: %v", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := fmt.Sprint(info.Mode()); mode != "-rw-------" {
		t.Errorf("its mode is %s", mode)
	}
}

func TestAFingerprintTellsKeysApart(t *testing.T) {
	one, again, other := newTokens(t, key, "", noon), newTokens(t, key, "salt", noon), newTokens(t, "fedcba9876543210", "", noon)
	if one.Fingerprint() != again.Fingerprint() || one.Fingerprint() == other.Fingerprint() || len(one.Fingerprint()) != 16 {
		t.Errorf("%s, %s, %s", one.Fingerprint(), again.Fingerprint(), other.Fingerprint())
	}
}
