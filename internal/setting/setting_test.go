package setting_test

import (
	"math"
	"testing"

	"github.com/libnet-go/libnet/internal/setting"
)

func TestZeroIsTheDefaultAndNegativeIsOff(t *testing.T) {
	for set, want := range map[int]int{0: 7, -1: 9, math.MinInt: 9, 1: 1, math.MaxInt: math.MaxInt} {
		if got := setting.Resolve(set, 7, 9); got != want {
			t.Errorf("%d stands for %d, want %d", set, got, want)
		}
	}
}
