// Im is an instant-messaging system: a gateway, access servers, clients and a browser page.
package main

func main() {}
