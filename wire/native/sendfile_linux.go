package native

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileSender sends from files to one plain TCP connection without copying to user space. It
// names the position itself, because many connections read from one descriptor.
type fileSender struct{ socket syscall.RawConn }

func newFileSender(nc net.Conn) *fileSender {
	tcp, ok := nc.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return nil
	}
	if _, ok := nc.LocalAddr().(*net.TCPAddr); !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return &fileSender{socket: raw}
}

// send writes head and then n bytes of the file from position on. A file that ends too early is
// an error: the client has been promised the bytes, so the connection must be closed.
func (f *fileSender) send(head []byte, fd uintptr, position int64, n int) error {
	var failed error
	err := f.socket.Write(func(socket uintptr) bool {
		for len(head) > 0 {
			m, err := unix.SendmsgN(int(socket), head, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			if again, wait := retry(err); wait {
				return false
			} else if again {
				continue
			} else if err != nil {
				failed = fmt.Errorf("send the head of an answer: %w", err)
				return true
			}
			head = head[m:]
		}
		for n > 0 {
			m, err := unix.Sendfile(int(socket), int(fd), &position, n)
			if again, wait := retry(err); wait {
				return false
			} else if again {
				continue
			} else if err != nil {
				failed = fmt.Errorf("sendfile: %w", err)
				return true
			}
			if m == 0 {
				failed = fmt.Errorf("sendfile: %d bytes are missing: %w", n, io.ErrUnexpectedEOF)
				return true
			}
			n -= m
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}

// retry says whether a call was interrupted, and whether it must wait for the socket.
func retry(err error) (again, wait bool) {
	return errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN)
}
