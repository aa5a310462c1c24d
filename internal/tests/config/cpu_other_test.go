//go:build !unix

package config

import (
	"testing"
	"time"
)

// cpu cannot tell.
func cpu(*testing.T) time.Duration { return 0 }
