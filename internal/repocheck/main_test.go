package repocheck

import (
	"os"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	libnettest.VerifyMain(m)
}
