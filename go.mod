module github.com/libnet-go/libnet

go 1.25.0

require (
	github.com/cenkalti/backoff/v5 v5.0.3
	github.com/coder/websocket v1.8.15
	github.com/golang/glog v1.2.5
	github.com/golang/protobuf v1.5.4
	google.golang.org/protobuf v1.36.12
)
