package obs

import (
	"context"
	"crypto/md5" //nolint:gosec // the service names content by it
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/url"
	"path/filepath"
)

// checkCurrent rejects a checkout if the service has other files: somebody else has committed
// since, and their files would be submitted.
func (c *Checkout) checkCurrent(ctx context.Context, osc string, names []string) error {
	text, err := c.ask(ctx, osc, "api", "/source/"+url.PathEscape(c.Project)+"/"+
		url.PathEscape(c.Package)+"?expand=1")
	if err != nil {
		return err
	}
	var list struct {
		XMLName xml.Name `xml:"directory"`
		Entries []struct {
			Name string `xml:"name,attr"`
			MD5  string `xml:"md5,attr"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal([]byte(text), &list); err != nil {
		return fmt.Errorf("%w: the service's list of files: %w", ErrOsc, err)
	}
	served := map[string]string{}
	for _, e := range list.Entries {
		served[e.Name] = e.MD5
	}
	for _, name := range names {
		data, err := c.read(name)
		if err != nil {
			return err
		}
		//nolint:gosec // as above
		if digest := md5.Sum(data); served[name] != hex.EncodeToString(digest[:]) {
			return fmt.Errorf("%w: the service has another %s: somebody has committed since: run "+
				"osc update and lpbuild dist --obs there",
				ErrNotReady, filepath.Join(c.Dir, name))
		}
	}
	return nil
}
