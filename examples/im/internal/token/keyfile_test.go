package token_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/token"
)

func TestAKeyIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	first, err := token.ReadKeyFile(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := token.ReadKeyFile(file)
	if err != nil || string(again) != string(first) {
		t.Errorf("the second time another key: %v", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := fmt.Sprint(info.Mode()); mode != "-rw-------" {
		t.Errorf("its mode is %s", mode)
	}
}
