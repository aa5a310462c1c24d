package directory_test

import (
	"bytes"
	"testing"

	"github.com/libnet-go/libnet/cluster/internal/directory"
)

// Another node may be of another version, or broken: what it sends is refused or understood, and a directory takes it
// all the same.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		"", "R", "R\x00\x02N1\x05\x01\x00\x00\x00\x07\x00\x00\x00\x00\x01\x01u\x01\x05", "U\x00\x02N1\x05\x00\x00\x00\x00\x07\x00\x00\x00\x00\x01\x01u\x00\x05",
		"L\x00\x02N1\x05\x01\x00\x00\x00\x07\x02N1\x02N2\x01\x09\x01\x01u\x01\x00", "Q\x00\x02N1\x05\x01\x00\x00\x00\x07\x00\x00\x00\x00\x01\x01u\x00\x00",
		"W\x00\x02N1\x05\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00", "D\x00\x02N1\x05\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00", "R\x00\x02N1\x05\x01\x00\x00\x00\x07\x00\x00\x00\x00\xff\xff\x03",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		once, twice, err := directory.Again(data)
		if err == nil && !bytes.Equal(once, twice) {
			t.Errorf("%q is encoded as %q and as %q", data, once, twice)
		}
		d := directory.New("N0", nowhere{}, nobody{})
		d.SetView([]string{"N0", "N1"}, 0)
		d.Hold("u", 1)
		d.Handle(data)
	})
}

type nowhere struct{}

func (nowhere) Publish(string, []byte) error { return nil }

type nobody struct{}

func (nobody) Replaced(string, uint64) {}
func (nobody) Announce()               {}
