package sockets

import (
	"crypto/tls"
	"slices"
	"testing"
)

// Net/http speaks HTTP/2 on the conns of crypto/tls alone: one that agreed to it here could not go on.
func TestATLSListenerNeverOffersHTTP2(t *testing.T) {
	own := &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	configs := map[string]*tls.Config{
		"nothing":         {},
		"both":            {NextProtos: []string{"h2", "http/1.1"}},
		"another":         {NextProtos: []string{"acme-tls/1", "h2"}},
		"one of its own":  {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }},
		"none of its own": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }},
	}
	for name, config := range configs {
		before := slices.Clone(config.NextProtos)
		got := withoutHTTP2(config)
		if got.GetConfigForClient != nil {
			chosen, err := got.GetConfigForClient(nil)
			if err != nil {
				t.Error(err)
			}
			if chosen != nil {
				got = chosen
			}
		}
		if slices.Contains(got.NextProtos, "h2") || !slices.Contains(got.NextProtos, "http/1.1") {
			t.Errorf("%s: offers %q", name, got.NextProtos)
		}
		if !slices.Equal(config.NextProtos, before) {
			t.Errorf("%s: the user's config was changed", name)
		}
	}
	only := &tls.Config{NextProtos: []string{"http/1.1"}}
	if withoutHTTP2(only) != only {
		t.Error("a config that was right is another one, without its session tickets")
	}
}
