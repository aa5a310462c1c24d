package registry

var DecodeServer = decodeServer
