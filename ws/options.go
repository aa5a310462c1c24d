package ws

import (
	"fmt"
	"net/http"
	"path"

	"github.com/coder/websocket"
)

// options is a copy of what the user has set.
type options struct {
	text         bool
	compressFrom int // 0: no compression is agreed to
	accept       websocket.AcceptOptions
	check        func(*http.Request) error // nil without
}

// copyOptions panics for a pattern that path.Match does not accept.
func copyOptions(o *HandlerOptions) options {
	if o == nil {
		o = new(HandlerOptions)
	}
	for _, pattern := range o.OriginPatterns {
		if _, err := path.Match(pattern, ""); err != nil {
			panic(fmt.Sprintf("libnet: ws: origin pattern %q: %v", pattern, err))
		}
	}
	return options{text: o.Text, compressFrom: max(0, o.CompressFrom), check: o.Check, accept: websocket.AcceptOptions{
		OriginPatterns:  append([]string(nil), o.OriginPatterns...),
		Subprotocols:    append([]string(nil), o.Subprotocols...),
		CompressionMode: websocket.CompressionDisabled, // compression is agreed on by acceptDeflate
	}}
}

// admit returns the answer to what a request offers, "" for none, and refuses one whose offers cannot be read (RFC
// 6455, 9.1). It asks the user about a request that is right otherwise.
func (o *options) admit(r *http.Request) (extensions string, err error) {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return "", badRequest("a request with a body") // which would be taken for frames
	}
	if o.compressFrom > 0 {
		if extensions, err = acceptDeflate(r.Header[extensionsField]); err != nil {
			return "", err
		}
	}
	if o.check != nil {
		err = o.check(r)
	}
	return extensions, err
}

// agreeTo reports whether messages may be compressed, and says so in the answer to a request.
func agreeTo(extensions string, answer http.Header) (deflates bool) {
	if extensions != "" {
		answer.Set(extensionsField, extensions)
	}
	return extensions != ""
}
