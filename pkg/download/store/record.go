package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxRecord is the maximum size of a record's value in bytes.
const MaxRecord = 16 << 20

// SetRecord stores a small value, at most [MaxRecord] bytes, under a kind (lower-case letters,
// digits and dashes) and any key: for example a property of some content of the store. It replaces
// an older value atomically.
func (s *Store) SetRecord(kind, key string, value []byte) error {
	name, err := s.recordPath(kind, key)
	if err != nil {
		return err
	}
	if len(value) > MaxRecord {
		return fmt.Errorf("record %s: %w: %d bytes, at most %d", kind, ErrTooLarge, len(value),
			MaxRecord)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return explain("create", filepath.Dir(name), err)
	}
	f, err := s.createTemp(context.Background())
	if err != nil {
		return err
	}
	defer f.Close()
	sum := recordSum(key, value)
	if _, err = f.Write(append(sum[:], value...)); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return explain("write", name, err)
	}
	return nil
}

// Record returns the value stored by [Store.SetRecord]. The error wraps [ErrMissing] if there is
// none, or if it is damaged: records are not synced to the disk, and have a checksum instead.
func (s *Store) Record(kind, key string) ([]byte, error) {
	name, err := s.recordPath(kind, key)
	if err != nil {
		return nil, err
	}
	f, err := openRegular(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("record %s %.200q: %w %s", kind, key, ErrMissing, s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, sha256.Size+MaxRecord+1))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if len(data) >= sha256.Size {
		value := data[sha256.Size:]
		if sum := recordSum(key, value); bytes.Equal(sum[:], data[:sha256.Size]) {
			return value, nil
		}
	}
	return nil, fmt.Errorf("record %s %.200q: damaged: %w %s", kind, key, ErrMissing, s.dir)
}

// recordPath returns the path of a record. The key is hashed, since it may be long and contain
// anything.
func (s *Store) recordPath(kind, key string) (string, error) {
	allowed := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
	if kind == "" || len(kind) > 64 ||
		strings.ContainsFunc(kind, func(r rune) bool { return !allowed(r) }) {
		return "", fmt.Errorf("record kind %.80q: use lower-case letters, digits and dashes only",
			kind)
	}
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return s.path(recordsDir, kind, name[:2], name), nil
}

// recordSum returns the checksum over a record's key and value. The key's own hash has a fixed
// length, so that no other key and value give the same bytes.
func recordSum(key string, value []byte) [sha256.Size]byte {
	keySum := sha256.Sum256([]byte(key))
	h := sha256.New()
	h.Write(keySum[:])
	h.Write(value)
	return [sha256.Size]byte(h.Sum(nil))
}
