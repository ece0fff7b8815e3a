package mirror

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// A log that asks to wait is asked this often, and waited for this long each time.
const (
	tries   = 5
	longest = 30 * time.Second
)

// get reads a file of the log. What did not come at all is left to the next Copy,
// which goes on from there.
func (m *copier) get(name string, most int64) ([]byte, error) {
	for try := 1; ; try++ {
		data, wait, err := m.getOnce(name, most)
		if err == nil {
			m.fetched++
			return data, nil
		}
		if wait == 0 || try == tries {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		}
	}
}

func (m *copier) getOnce(name string, most int64) (data []byte, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(m.ctx, http.MethodGet, m.cfg.Prefix+"/"+name, nil)
	if err != nil { // its text quotes the URL
		return nil, 0, fault.New(fault.Invalid, "the address of the log is not a URL")
	}
	res, err := m.cfg.HTTP.Do(req)
	if err != nil {
		return nil, 0, unreachable(name, err)
	}
	defer res.Body.Close() // it was only read
	switch {
	case res.StatusCode == http.StatusOK:
	case res.StatusCode == http.StatusNotFound:
		return nil, 0, fault.New(fault.NotFound, "the server has no %s of this log, or does not know the reader", name).
			WithHint("has the reader been revoked? underseal log readers list, on the other side, says so")
	default:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // none: at once
		return nil, min(max(time.Duration(seconds)*time.Second, 100*time.Millisecond), longest),
			fault.New(fault.Unavailable, "the server answers %d to %s", res.StatusCode, name)
	}
	data, err = io.ReadAll(io.LimitReader(res.Body, most+1))
	switch {
	case err != nil:
		return nil, 0, unreachable(name, err)
	case int64(len(data)) > most:
		return nil, 0, fault.New(fault.Integrity, "the log's file %s is larger than it can be", name).WithCode("log_inconsistent")
	}
	return data, 0, nil
}

// unreachable drops the text that net/http puts before a cause: it quotes the URL,
// and with it the reader's secret.
func unreachable(name string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fault.New(fault.Unavailable, "fetch %s of the log: %w", name, err)
}

// Shards asks which logs the owner of an address has, and returns the last parts of
// their names, oldest first. An address is what the logs' prefixes begin with.
func Shards(ctx context.Context, client *http.Client, address string) ([]string, error) {
	m := &copier{ctx: ctx, cfg: Config{Prefix: address, HTTP: client}}
	list, err := m.get("shards", maxCheckpoint)
	if err != nil {
		return nil, err
	}
	var names []string
	for origin := range strings.Lines(string(list)) {
		origin = strings.TrimSuffix(origin, "\n")
		names = append(names, origin[strings.LastIndexByte(origin, '/')+1:])
	}
	return names, nil
}
