package distro

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Sign writes the detached, ASCII armored signature of file to file+".asc", replacing an existing
// one.
func (k *Key) Sign(ctx context.Context, file string) error {
	args := append(k.signFlags(), "--armor", "--output", file+".asc", "--detach-sign", file)
	var err error
	if k.Options.V3Signatures {
		_, err = k.gpg1(ctx, nil, args...)
	} else {
		err = k.withAgent(ctx, func(ctx context.Context, home string) error {
			_, err := k.gpg(ctx, home, args...)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("sign %s: %w", file, err)
	}
	return nil
}

func (k *Key) signFlags() []string {
	flags := []string{"--digest-algo", k.Options.Digest, "--local-user", k.Signer + "!"}
	if k.Options.V3Signatures {
		flags = append(flags, "--force-v3-sigs")
	}
	return flags
}

// SignRPM signs RPM files in place with rpmsign, replacing existing signatures. It keeps their
// modification times, which are part of repository metadata.
func (k *Key) SignRPM(ctx context.Context, files ...string) error {
	if len(files) == 0 {
		return nil
	}
	times := make([]time.Time, len(files))
	for i, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		times[i] = info.ModTime()
	}
	var err error
	if k.Options.V3Signatures {
		err = k.rpmsign(ctx, "gpg1", append(k.gpg1Flags(), k.signFlags()...), k.gpg1Home(), files)
	} else {
		err = k.withAgent(ctx, func(ctx context.Context, home string) error {
			return k.rpmsign(ctx, "gpg", append(k.gpgFlags(home), k.signFlags()...), home, files)
		})
	}
	if err != nil {
		return fmt.Errorf("sign RPMs: %w", err)
	}
	for i, f := range files {
		if err := os.Chtimes(f, times[i], times[i]); err != nil {
			return err
		}
	}
	return nil
}

// rpmsign signs the files, divided among as many processes as tools may run at once.
func (k *Key) rpmsign(ctx context.Context, gpg string, flags []string, home string,
	files []string) error {
	program, err := exec.LookPath(gpg)
	if err != nil {
		return missing(gpg, err)
	}
	args := []string{"--resign", "--quiet",
		"--define", "_gpg_name " + k.Signer,
		"--define", "_gpg_path " + home,
		"--define", "__gpg_sign_cmd " + program + " " + gpg + " " + strings.Join(flags, " ") +
			" --no-armor --output %{__signature_filename} --detach-sign %{__plaintext_filename}"}
	if k.Options.V3Signatures {
		args = append(args, "--rpmv3") // header and payload, in addition to the header alone
	}
	g, gctx := errgroup.WithContext(ctx)
	for share := range slices.Chunk(files, (len(files)+parallel-1)/parallel) {
		own := slices.Clone(args)
		for _, f := range share {
			abs, err := filepath.Abs(f)
			if err != nil {
				return err
			}
			own = append(own, abs)
		}
		g.Go(func() error {
			_, err := command{path: "rpmsign", args: own, home: home, dir: home}.run(gctx)
			return err
		})
	}
	return g.Wait()
}
