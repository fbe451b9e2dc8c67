// Package redisserver runs a private redis-server for benchmarks, from Debian's
// redis-server. It keeps nothing on disk.
package redisserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Server is a running server. It ends with the process that started it.
type Server struct {
	// Addr is host:port.
	Addr string

	dir string
	cmd *exec.Cmd
}

// Start returns when the server takes connections.
func Start(ctx context.Context) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: l.Addr().String()}
	host, port, _ := net.SplitHostPort(s.Addr)
	_ = l.Close()
	if s.dir, err = os.MkdirTemp("", "gocart-redis-"); err != nil {
		return nil, err
	}
	s.cmd = exec.Command("redis-server", "--port", port, "--bind", host, "--save", "", "--appendonly", "no", "--dir", s.dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: install Debian's packages redis-server and redis-tools", err)
	}
	for {
		conn, err := net.Dial("tcp", s.Addr)
		if err == nil {
			return s, conn.Close()
		}
		select {
		case <-ctx.Done():
			s.Kill()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Kill ends the server at once.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

// URLFile holds the server's URL, as a store's configuration names it.
func (s *Server) URLFile() (string, error) {
	path := filepath.Join(s.dir, "url")
	return path, os.WriteFile(path, []byte("redis://"+s.Addr), 0o600)
}
