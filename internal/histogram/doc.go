// Package histogram promises that noting a value costs two additions that wait for nobody, that nothing noted is lost
// or counted twice, and that what a [Histogram] reports never goes down. It knows of no session.
package histogram
