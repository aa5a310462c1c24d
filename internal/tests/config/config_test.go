package config

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

func TestEveryNumberAtItsExtremes(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		t.Run(name, func(t *testing.T) {
			for _, value := range table[name].values {
				t.Run(fmt.Sprint(value), func(t *testing.T) { table[name].try(t, value) })
			}
		})
	}
}
