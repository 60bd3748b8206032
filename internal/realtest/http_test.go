package realtest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
)

// web is a client of a web server.
type web struct {
	http.Client
	// makes a request, and returns the body that must come back
	fetch func(c *web, i int) (*http.Response, []byte, error)
}

func newWeb(fetch func(c *web, i int) (*http.Response, []byte, error)) *web {
	return &web{http.Client{Transport: &http.Transport{}, Timeout: patience}, fetch}
}

func (c *web) close() { c.CloseIdleConnections() }

func (c *web) ask(i int) error {
	if i%100 == 0 {
		c.CloseIdleConnections() // a new connection
	}
	answer, want, err := c.fetch(c, i)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", answer.Status, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes of answer are not the %d that are right", len(got), len(want))
	}
	return nil
}

// reversed asks a server that answers with the request's body, reversed.
func reversed(port, client int) *web {
	return newWeb(func(c *web, i int) (*http.Response, []byte, error) {
		body := noise(uint64(client), uint64(i), 1+i*37%20_000)
		answer, err := c.Post(fmt.Sprintf("http://127.0.0.1:%d/", port), "application/octet-stream",
			bytes.NewReader(body))
		slices.Reverse(body)
		return answer, body, err
	})
}

// noise returns n bytes that are others for each pair of seeds.
func noise(a, b uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{0: byte(a), 1: byte(b), 2: byte(b >> 8), 3: byte(b >> 16)})
	data := make([]byte, n)
	_, _ = r.Read(data)
	return data
}
