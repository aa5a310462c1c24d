package cluster

import (
	"bytes"
	"encoding/json"
)

// decodeList takes a JSON array apart, one element at a time, and fails at the first one too many, with those before
// it: elements that are short on the wire, as {}, may be large here.
func decodeList[T any](src []byte, most int) (list []T, err error) {
	in := json.NewDecoder(bytes.NewReader(src))
	if token, err := in.Token(); err != nil || token != json.Delim('[') {
		return nil, errMalformed
	}
	for in.More() {
		if len(list) == most {
			return list, errMalformed
		}
		var element T
		if in.Decode(&element) != nil {
			return nil, errMalformed
		}
		list = append(list, element)
	}
	if token, err := in.Token(); err != nil || token != json.Delim(']') || in.InputOffset() != int64(len(src)) {
		return nil, errMalformed
	}
	return list, nil
}

// peerBriefs are the first maxPeers of one announcement.
type peerBriefs []peerBrief

// UnmarshalJSON implements json.Unmarshaler.
func (l *peerBriefs) UnmarshalJSON(src []byte) (err error) {
	if *l, err = decodeList[peerBrief](src, maxPeers); len(*l) == maxPeers {
		return nil
	}
	return err
}
