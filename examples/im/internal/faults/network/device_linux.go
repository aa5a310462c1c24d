package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const deviceName = "wire0"

// queued is how many packets of a host wait for this process to carry them. More are dropped, and the first packet of a
// connection is sent again after a second: only the wires that are cut should do so, and not a machine that gives this
// process no time for a while.
const queued = 1 << 13

// openDevice makes a TUN device in the thread's namespace, with these addresses of a network, and brings it and the
// loopback device up.
func openDevice(addrs []netip.Addr, prefix netip.Prefix) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	if err := configure(fd, addrs, prefix); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), deviceName), nil // once it is a device's: before, it could not be polled
}

func configure(fd int, addrs []netip.Addr, prefix netip.Prefix) error {
	r, err := unix.NewIfreq(deviceName)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	for i, addr := range addrs {
		name := deviceName
		if i > 0 { // an alias, which is an address more
			name = fmt.Sprintf("%s:%d", deviceName, i)
		}
		if err := setAddress(socket, name, addr, prefix); err != nil {
			return fmt.Errorf("%s: address %v: %w", name, addr, err)
		}
	}
	return up(socket)
}

func setAddress(socket int, name string, addr netip.Addr, prefix netip.Prefix) error {
	ip := addr.As4()
	if err := ioctlInet(socket, name, unix.SIOCSIFADDR, ip[:]); err != nil {
		return err
	}
	return ioctlInet(socket, name, unix.SIOCSIFNETMASK, net.CIDRMask(prefix.Bits(), 32))
}

func ioctlInet(socket int, name string, request uint, value []byte) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := r.SetInet4Addr(value); err != nil {
		return err
	}
	return unix.IoctlIfreq(socket, request, r)
}

// up sets the devices' size of packets, and has them work.
func up(socket int) error {
	r, err := unix.NewIfreq(deviceName)
	if err != nil {
		return err
	}
	r.SetUint32(mtu)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFMTU, r); err != nil {
		return fmt.Errorf("mtu: %w", err)
	}
	if r, err = unix.NewIfreq(deviceName); err != nil {
		return err
	}
	r.SetUint32(queued)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFTXQLEN, r); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	for _, name := range []string{deviceName, "lo"} {
		if r, err = unix.NewIfreq(name); err != nil {
			return err
		}
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, r); err != nil {
			return fmt.Errorf("%s up: %w", name, err)
		}
	}
	return nil
}
