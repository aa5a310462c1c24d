package codec_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/libnet-go/libnet/codec"
)

// A framing of the package that complete does not know works, more slowly, as a user's does: nothing else would tell.
func TestEveryFramingOfThePackageIsTakenForOne(t *testing.T) {
	for _, framing := range framings {
		codec := reflect.ValueOf(codec.New(framing.framing, codec.Bytes).NewCodec(nil)).Elem()
		taken := codec.FieldByName("framing")
		if !taken.IsValid() {
			continue // the prefixes have a codec of their own
		}
		isUsers := taken.Elem().Type().String() == "*codec.foreign"
		if isUsers != strings.HasPrefix(framing.name, "user's") {
			t.Errorf("%s is taken for a %v: is it missing in complete?", framing.name, taken.Elem().Type())
		}
	}
}
