package terminal

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

func TestALineThatIsTooLongIsSaidAndTheNextOneIsRead(t *testing.T) {
	t.Parallel()
	r := bufio.NewReaderSize(strings.NewReader("one\n"+strings.Repeat("x", 100)+"\ntwo\r\n"+strings.Repeat("y", 100)), 16)
	for _, want := range []string{"one", "", "two", ""} {
		line, fits, err := readLine(r)
		if err != nil && want != "" || fits != (want != "") || fits && line != want {
			t.Errorf("%q, %v, %v; want %q", line, fits, err, want)
		}
	}
	if line, _, err := readLine(r); err != io.EOF {
		t.Errorf("%q, %v after the end", line, err)
	}
}
