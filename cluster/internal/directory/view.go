package directory

import (
	"slices"
)

// maxHomes is how many nodes know who holds a user: with three, a majority does without any one of them.
const maxHomes = 3

// A view is a set of live nodes. Immutable.
type view struct {
	members []string // sorted
	hashes  []uint64
	digest  uint32 // equal for equal members, and never 0
}

func newView(members []string) *view {
	v := &view{members: slices.Sorted(slices.Values(members))}
	var digest uint64
	for _, m := range v.members {
		h := hash(m)
		v.hashes = append(v.hashes, h)
		digest = mix(digest ^ h)
	}
	v.digest = uint32(digest) | 1
	return v
}

func (v *view) has(node string) bool {
	_, found := slices.BinarySearch(v.members, node)
	return found
}

// homes are the nodes that know who holds a user, best first.
type homes struct {
	nodes [maxHomes]string
	count int
}

func (h *homes) list() []string { return h.nodes[:h.count] }

func (h *homes) has(node string) bool { return slices.Contains(h.list(), node) }

// homes returns the members with the greatest hashes together with the token: when one leaves, only users whose home it
// was get another.
func (v *view) homes(token string) (h homes) {
	var best [maxHomes]uint64
	t := hash(token)
	for i, m := range v.hashes {
		score := mix(t ^ m)
		at := h.count
		for at > 0 && score > best[at-1] {
			at--
		}
		if at == maxHomes {
			continue
		}
		h.count = min(h.count+1, maxHomes)
		copy(best[at+1:], best[at:])
		copy(h.nodes[at+1:], h.nodes[at:])
		best[at], h.nodes[at] = score, v.members[i]
	}
	return h
}

// hash is FNV-1a, mixed: the same on all nodes.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(s) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
