package directory

import "time"

// SetClock sets a node's clock wrong.
func SetClock(d *Directory, ahead time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hint = func() uint64 { return uint64(max(0, time.Now().Add(ahead).UnixMicro())) }
}

// Again decodes a message and encodes it again, twice.
func Again(src []byte) (once, twice []byte, err error) {
	m, err := decode(src)
	if err != nil {
		return nil, nil, err
	}
	once = m.encode()
	m, err = decode(once)
	return once, m.encode(), err
}
