package distro

import (
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// repomd is repomd.xml as createrepo_c writes it.
type repomd struct {
	XMLName  xml.Name     `xml:"http://linux.duke.edu/metadata/repo repomd"`
	Revision string       `xml:"revision"`
	Data     []repomdData `xml:"data"`
}

type repomdData struct {
	Type         string         `xml:"type,attr"`
	Checksum     repomdChecksum `xml:"checksum"`
	OpenChecksum repomdChecksum `xml:"open-checksum"`
	Location     struct {
		Href string `xml:"href,attr"`
	} `xml:"location"`
	Timestamp int64 `xml:"timestamp"`
	Size      int64 `xml:"size"`
	OpenSize  int64 `xml:"open-size"`
}

type repomdChecksum struct {
	Type  string `xml:"type,attr"`
	Value string `xml:",chardata"`
}

var checksums = map[string]func() hash.Hash{
	"sha": sha1.New, "sha1": sha1.New, "sha256": sha256.New, "sha384": sha512.New384,
	"sha512": sha512.New,
}

// recompress replaces every .gz in a repodata directory by a .zst, and updates repomd.xml.
func recompress(repodata, checksum string) error {
	name := filepath.Join(repodata, "repomd.xml")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var md repomd
	if err := xml.Unmarshal(text, &md); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i := range md.Data {
		if err := recompressData(repodata, &md.Data[i], checksum); err != nil {
			return fmt.Errorf("%s: %s: %w", name, md.Data[i].Type, err)
		}
	}
	var out bytes.Buffer
	out.WriteString(xml.Header)
	encoder := xml.NewEncoder(&out)
	encoder.Indent("", "  ")
	if err := encoder.Encode(md); err != nil {
		return err
	}
	return writeFile(name, &out)
}

func recompressData(repodata string, d *repomdData, checksum string) error {
	old := filepath.Join(repodata, path.Base(d.Location.Href))
	f, err := os.Open(old)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	encoder, err := zstd.NewWriter(&packed)
	if err != nil {
		return err
	}
	if _, err := io.Copy(encoder, plain); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	sum := checksums[checksum]()
	sum.Write(packed.Bytes())
	d.Size, d.Checksum.Value = int64(packed.Len()), hex.EncodeToString(sum.Sum(nil))
	_, kind, _ := strings.Cut(strings.TrimSuffix(filepath.Base(old), ".gz"), "-")
	d.Location.Href = fmt.Sprintf("repodata/%s-%s.zst", d.Checksum.Value, kind)
	if err := writeFile(filepath.Join(repodata, path.Base(d.Location.Href)), &packed); err != nil {
		return err
	}
	return os.Remove(old)
}
