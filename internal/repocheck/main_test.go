package repocheck

import (
	"os"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// directory is the root, in which the tests run.
var directory string

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	directory, _ = os.Getwd()
	libnettest.VerifyMain(m)
}
