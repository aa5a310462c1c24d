package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/monitor"
)

// withMonitor has the server watched as one is that is deployed: its metrics are read once a second.
func withMonitor(srv *libnet.Server) error {
	var o monitor.Options
	l, err := o.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	go o.Serve(context.Background(), l, srv)
	go func() {
		for range time.Tick(time.Second) {
			if response, err := http.Get("http://" + l.Addr().String() + "/metrics"); err == nil {
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		}
	}()
	return nil
}
