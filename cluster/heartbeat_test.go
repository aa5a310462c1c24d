package cluster_test

import (
	"slices"
	"testing"

	"github.com/libnet-go/libnet/cluster"
)

func TestAHeartbeatIsBriefWhileNothingChangesAndWholeEachTwoSeconds(t *testing.T) {
	const whole, brief = 18, 9
	got := cluster.BeatSizes([]uint32{1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3})
	want := []int{whole, whole, whole, whole, brief, brief, brief, whole, whole, whole, whole, whole, brief, whole}
	if !slices.Equal(got, want) {
		t.Errorf("heartbeats of %v bytes, want %v", got, want)
	}
}
