package distro

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// RepositoryOptions configure a repository. The zero value is an unsigned one with gzip metadata.
type RepositoryOptions struct {
	Key      *Key // signs repomd.xml and becomes repomd.xml.key; nil means unsigned
	SignRPMs bool // sign the RPMs, too; needs Key

	Compression string // of the metadata: "gz" (the default), "xz", "bz2" or "zst"
	// in the metadata: "sha256" (the default), "sha512", "sha384", or "sha1", which nobody should
	// trust
	Checksum string
	Revision time.Time // of the metadata; zero means now
}

// MakeRepository makes an rpm-md repository of copies of the RPMs: DIR/ARCH/NAME.rpm,
// DIR/repodata/repomd.xml with the files it names, repomd.xml.asc and repomd.xml.key. In an
// existing repository it adds the RPMs, replacing those with the same names, and replaces the
// metadata, as a distributor does while customers download.
func MakeRepository(ctx context.Context, dir string, rpms []string, o RepositoryOptions) error {
	o.Compression = cmp.Or(o.Compression, "gz")
	o.Checksum = cmp.Or(o.Checksum, "sha256")
	if o.Revision.IsZero() {
		o.Revision = time.Now()
	}
	if o.SignRPMs && o.Key == nil {
		return fmt.Errorf("repository %s: no key to sign the RPMs with", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	copies := make([]string, len(rpms))
	for i, rpm := range rpms {
		var err error
		if copies[i], err = copyRPM(dir, rpm); err != nil {
			return fmt.Errorf("repository %s: %w", dir, err)
		}
	}
	if o.SignRPMs {
		if err := o.Key.SignRPM(ctx, copies...); err != nil {
			return fmt.Errorf("repository %s: %w", dir, err)
		}
	}
	if err := makeMetadata(ctx, dir, o); err != nil {
		return fmt.Errorf("repository %s: %w", dir, err)
	}
	return signMetadata(ctx, dir, o.Key)
}

// makeMetadata runs createrepo_c, which supports all compressions but zstd.
func makeMetadata(ctx context.Context, dir string, o RepositoryOptions) error {
	compression := o.Compression
	if compression == "zst" {
		compression = "gz"
	}
	if _, err := (command{path: "createrepo_c", home: dir, args: []string{
		"--quiet", "--no-database", "--workers", strconv.Itoa(parallel), "--checksum", o.Checksum,
		"--general-compress-type", compression, "--set-timestamp-to-revision", "--revision",
		strconv.FormatInt(o.Revision.Unix(), 10),
		dir}}).run(ctx); err != nil || o.Compression != "zst" {
		return err
	}
	return recompress(filepath.Join(dir, "repodata"), o.Checksum)
}

// signMetadata writes repomd.xml.asc and repomd.xml.key, or removes old ones if there is no key.
func signMetadata(ctx context.Context, dir string, k *Key) error {
	repomd := filepath.Join(dir, "repodata", "repomd.xml")
	if k == nil {
		for _, old := range []string{repomd + ".asc", repomd + ".key"} {
			if err := os.Remove(old); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
		return nil
	}
	if err := os.WriteFile(repomd+".key", k.Public(), 0o644); err != nil {
		return err
	}
	return k.Sign(ctx, repomd)
}

// copyRPM copies an RPM to DIR/ARCH with its modification time. With a link, a test that damages it
// would damage the original.
func copyRPM(dir, rpm string) (name string, err error) {
	arch, err := rpmArch(rpm)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(rpm)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(dir, arch), 0o755); err != nil {
		return "", err
	}
	name = filepath.Join(dir, arch, filepath.Base(rpm))
	in, err := os.Open(rpm)
	if err != nil {
		return "", err
	}
	defer in.Close()
	if err := writeFile(name, in); err != nil {
		return "", err
	}
	return name, os.Chtimes(name, info.ModTime(), info.ModTime())
}

// writeFile writes the content of r under a new name and renames it, so that nobody sees an
// incomplete file.
func writeFile(name string, r io.Reader) error {
	out, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	_, err = io.Copy(out, r)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(out.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(out.Name(), name)
	}
	return err
}

// rpmArch returns the ARCH of a file that is named NAME-VERSION-RELEASE.ARCH.rpm and begins like an
// RPM.
func rpmArch(rpm string) (string, error) {
	f, err := os.Open(rpm)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var magic uint32
	if err := binary.Read(f, binary.BigEndian, &magic); err != nil || magic != 0xedabeedb {
		return "", fmt.Errorf("%s is not an RPM", rpm)
	}
	stem := rpm[:max(0, len(rpm)-len(".rpm"))]
	arch := filepath.Ext(stem)
	if len(arch) < 2 || stem+".rpm" != rpm {
		return "", fmt.Errorf("%s is not named NAME-VERSION-RELEASE.ARCH.rpm", rpm)
	}
	return arch[1:], nil
}
