package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
)

// setns is the number of setns(2), which package syscall lacks.
var setns = map[string]uintptr{"amd64": 308, "arm64": 268, "386": 346, "arm": 375, "riscv64": 268, "ppc64le": 350, "s390x": 339}

// Dial connects from the machine to an IP address and port. A socket belongs
// for good to the network of the thread that opened it, so a thread enters
// the machine's network for this one call.
func (m *Machine) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var dialer net.Dialer
	if m.source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(m.source, 0))
	}
	err = m.inNetwork(func() error {
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("from %s: %w", m.Name, err)
	}
	return conn, nil
}

// Listen opens a TCP socket of the machine.
func (m *Machine) Listen(address string) (l net.Listener, err error) {
	err = m.inNetwork(func() error {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", m.Name, err)
	}
	return l, nil
}

// inNetwork calls f on a thread that is in the machine's network meanwhile.
// The thread must come back and stay: were it to end, the machines whose
// process 1 it happened to start would end with it (PR_SET_PDEATHSIG, prctl(2)).
func (m *Machine) inNetwork(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := enter(there); err != nil {
		return err
	}
	failed := f()
	if err := enter(home); err != nil {
		runtime.LockOSThread() // once more than it is unlocked: nobody else gets this thread
		return err
	}
	return failed
}

func enter(network *os.File) error {
	number, ok := setns[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("setns on %q: %w", runtime.GOARCH, syscall.ENOSYS)
	}
	if _, _, errno := syscall.Syscall(number, network.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return os.NewSyscallError("setns", errno)
	}
	return nil
}

// await returns when the machine itself can connect to all these TCP ports of one of its addresses.
func (m *Machine) await(ctx context.Context, at netip.Addr, ports ...string) error {
	for _, port := range ports {
		err := poll(ctx, func() error {
			conn, err := m.Dial(ctx, "tcp", net.JoinHostPort(at.String(), port))
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
