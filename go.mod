module github.com/libnet-go/libnet

go 1.25.0
