module github.com/libnet-go/libnet/codec/gogotest

go 1.26.0

require (
	github.com/gogo/protobuf v1.3.2
	github.com/libnet-go/libnet v0.0.0
)

require google.golang.org/protobuf v1.36.12 // indirect

replace github.com/libnet-go/libnet => ../../
