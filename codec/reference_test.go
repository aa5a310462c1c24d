package codec_test

import (
	"bytes"
	"math/big"
	"slices"

	"github.com/libnet-go/libnet"
)

// A reference decodes the first frame of src as ParseFrame does, with its payload bounded by limit.
// The references are slow and share nothing with the package: big integers and whole-buffer searches.
type reference func(src []byte, limit int) (payload []byte, n int, err error)

func referenceLength(offset, size int, little bool, adjust int, includesHeader bool, strip int) reference {
	return func(src []byte, limit int) ([]byte, int, error) {
		head := offset + size
		if len(src) < head {
			return nil, 0, nil
		}
		digits := slices.Clone(src[offset:head])
		if little {
			slices.Reverse(digits)
		}
		end := new(big.Int).SetBytes(digits)
		end.Add(end, big.NewInt(int64(adjust)))
		if !includesHeader {
			end.Add(end, big.NewInt(int64(head)))
		}
		switch {
		case end.Cmp(big.NewInt(int64(max(head, strip)))) < 0:
			return nil, 0, libnet.ErrMalformedFrame
		case end.Cmp(big.NewInt(int64(strip+limit))) > 0:
			return nil, 0, libnet.ErrFrameTooLarge
		case end.Cmp(big.NewInt(int64(len(src)))) > 0:
			return nil, 0, nil
		}
		n := int(end.Int64())
		return src[strip:n], n, nil
	}
}

func referencePrefix(size int, little bool) reference {
	return referenceLength(0, size, little, 0, false, size)
}

func referenceVarint(src []byte, limit int) ([]byte, int, error) {
	last := slices.IndexFunc(src, func(b byte) bool { return b < 0x80 })
	switch {
	case last < 0 && len(src) < 10:
		return nil, 0, nil
	case last < 0 || last >= 10:
		return nil, 0, libnet.ErrMalformedFrame
	}
	length := new(big.Int)
	for _, b := range slices.Backward(src[:last+1]) {
		length.Lsh(length, 7).Or(length, big.NewInt(int64(b&0x7f)))
	}
	body := src[last+1:]
	switch {
	case length.BitLen() > 64:
		return nil, 0, libnet.ErrMalformedFrame
	case length.Cmp(big.NewInt(int64(limit))) > 0:
		return nil, 0, libnet.ErrFrameTooLarge
	case length.Cmp(big.NewInt(int64(len(body)))) > 0:
		return nil, 0, nil
	}
	payload := body[:length.Int64()]
	return payload, last + 1 + len(payload), nil
}

// referenceDelimiter ends a message with any of seps, the longest first.
func referenceDelimiter(seps ...string) reference {
	shortest := seps[len(seps)-1]
	return func(src []byte, limit int) ([]byte, int, error) {
		if frame, _, found := bytes.Cut(src, []byte(shortest)); found {
			n := len(frame) + len(shortest)
			for _, sep := range seps {
				payload, ended := bytes.CutSuffix(src[:n], []byte(sep))
				if ended && len(payload) <= limit {
					return payload, n, nil
				} else if ended {
					return nil, 0, libnet.ErrFrameTooLarge
				}
			}
		}
		for _, sep := range seps {
			for begun := range len(sep) {
				if bytes.HasSuffix(src, []byte(sep[:begun])) && len(src)-begun <= limit {
					return nil, 0, nil
				}
			}
		}
		return nil, 0, libnet.ErrFrameTooLarge
	}
}

func referenceFixed(size int) reference {
	return func(src []byte, limit int) ([]byte, int, error) {
		switch {
		case len(src) > 0 && size > limit:
			return nil, 0, libnet.ErrFrameTooLarge
		case len(src) < size:
			return nil, 0, nil
		}
		return src[:size], size, nil
	}
}
