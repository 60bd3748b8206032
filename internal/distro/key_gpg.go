package distro

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxHome is the maximum length of a GnuPG home whose socket names the kernel accepts (108 bytes).
const maxHome = 80

// withAgent calls f with the path of the key's GnuPG home, and ends the gpg-agent that gpg started
// for it, so that no agent is left behind.
func (k *Key) withAgent(ctx context.Context,
	f func(ctx context.Context, home string) error) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	home := k.gpgHome()
	if len(home) > maxHome { // tests have long names, and so have their directories
		short, err := os.MkdirTemp("", "gpg-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(short)
		if err := os.Symlink(home, filepath.Join(short, "h")); err != nil {
			return err
		}
		home = filepath.Join(short, "h")
	}
	defer func() { err = errors.Join(err, stopAgent(context.WithoutCancel(ctx), home)) }()
	return f(ctx, home)
}

// stopAgent ends the agent of a GnuPG home and waits until its sockets are gone, so that the next
// gpg does not meet an agent that is exiting. An agent has several sockets and removes them one by
// one, the one that gpg uses first.
func stopAgent(ctx context.Context, home string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	socket, err := command{path: "gpgconf", args: []string{"--homedir", home, "--list-dirs",
		"agent-socket"}, home: home}.run(ctx)
	if err != nil {
		return err
	}
	if _, err := (command{path: "gpgconf", args: []string{"--homedir", home, "--kill", "gpg-agent"},
		home: home}).run(ctx); err != nil {
		return err
	}
	name := strings.TrimSpace(string(socket))
	for {
		if sockets, err := filepath.Glob(name + "*"); err != nil {
			return err
		} else if len(sockets) == 0 {
			if dir := filepath.Dir(name); dir != home {
				// below /run/user, if that exists; made by gpg for this home, and kept only if not
				// empty
				_ = os.Remove(dir)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gpg-agent of %s does not end: %w", home, context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// gpg runs gpg in home, which has an agent, at a time when the key is or was valid.
func (k *Key) gpg(ctx context.Context, home string, args ...string) ([]byte, error) {
	return command{path: "gpg", args: append(k.gpgFlags(home), args...), home: home}.run(ctx)
}

// gpgFlags returns the flags for every call of gpg.
func (k *Key) gpgFlags(home string) []string {
	flags := []string{"--homedir", home, "--batch", "--no-tty", "--quiet", "--yes", "--trust-model",
		"always"}
	if k.Options.Expired {
		then := time.Now().UTC().Add(-2 * keyLifetime).Format("20060102T150405")
		flags = append(flags, "--faked-system-time", then+"!")
	}
	return flags
}

// giveToGPG1 copies the secret key, since gpg1 would take seconds to make one.
func (k *Key) giveToGPG1(ctx context.Context, home string) error {
	secret, err := k.gpg(ctx, home, "--export-secret-keys", k.Fingerprint)
	if err != nil {
		return err
	}
	_, err = k.gpg1(ctx, bytes.NewReader(secret), "--import")
	return err
}

func (k *Key) gpg1(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	return command{path: "gpg1", args: append(k.gpg1Flags(), args...), home: k.gpg1Home(),
		stdin: stdin}.run(ctx)
}

func (k *Key) gpg1Flags() []string {
	return []string{"--homedir", k.gpg1Home(), "--batch", "--no-tty", "--quiet", "--yes",
		"--no-use-agent"}
}
