package libnet

// TakeOver makes event mode's connection, which a test cannot otherwise reach by itself.
var TakeOver = takeOver
