package system

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
)

// packageScene is a device with a firmware, and one without.
type packageScene struct {
	*deviceAPI
	token, without string
	title          string
	data           []byte
}

// devicePackages are the cases of firmware over HTTP and CoAP (device-api §8.5, §8.6); those over MQTT are deviceMQTTPackages.
func devicePackages(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, a.profile(t, "DEFAULT", nil))
	_, without := a.device(t, "")
	s := &packageScene{deviceAPI: a, token: token, without: without, title: unique("firmware"), data: make([]byte, 10<<10)}
	for i := range s.data {
		s.data[i] = byte(i / 7) // no two blocks alike
	}
	firmware, err := a.tenant.NewFirmware(t.Context(), device, s.title, s.data)
	if err != nil {
		t.Fatal(err)
	}
	a.assign(t, device, firmware)
	t.Run("http", s.http)
	t.Run("coap", s.coap)
}

// get asks over HTTP for a device's firmware. Only what is wrong on the way fails the test.
func (s *packageScene) get(t *testing.T, token string, query url.Values) (*http.Response, []byte) {
	t.Helper()
	address := "http://" + s.doors.HTTP + "/api/v1/" + token + "/firmware?" + query.Encode()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func (s *packageScene) http(t *testing.T) {
	right := url.Values{"title": {s.title}, "version": {FirmwareVersion}}
	s.eventually(t, func() error { // a transport hears of what was assigned within a moment
		if response, _ := s.get(t, s.token, right); response.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %s", response.Status)
		}
		return nil
	})
	for _, c := range []struct {
		name, size, chunk string
		want              []byte
	}{
		{"H18 the first", "4096", "0", s.data[:4096]},
		{"H18 the last", "4096", "2", s.data[8192:]},
		{"H18 after the last", "4096", "3", nil},
		{"H18 whole", "", "", s.data},
	} {
		t.Run(c.name, func(t *testing.T) {
			query := url.Values{"title": {s.title}, "version": {FirmwareVersion}}
			if c.size != "" {
				query.Set("size", c.size)
				query.Set("chunk", c.chunk)
			}
			response, body := s.get(t, s.token, query)
			if response.StatusCode != http.StatusOK || !bytes.Equal(body, c.want) {
				t.Errorf("%s, %d bytes, want %d", response.Status, len(body), len(c.want))
			}
			if name := response.Header.Get("x-filename"); name != "firmware.bin" {
				t.Errorf("x-filename %q", name)
			}
		})
	}
	for _, c := range []struct {
		name, token string
		query       url.Values
		status      int
	}{
		{"H19 wrong title", s.token, url.Values{"title": {"other"}, "version": {FirmwareVersion}}, http.StatusBadRequest},
		{"H19 wrong version", s.token, url.Values{"title": {s.title}, "version": {"other"}}, http.StatusBadRequest},
		{"H19 missing title", s.token, url.Values{"version": {FirmwareVersion}}, http.StatusBadRequest},
		{"H19 nothing assigned", s.without, right, http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			if response, body := s.get(t, c.token, c.query); response.StatusCode != c.status {
				t.Errorf("%s %s, want %d", response.Status, body, c.status)
			}
		})
	}
}

func (s *packageScene) coap(t *testing.T) {
	c := coapDial(t, s.doors.CoAP)
	path := "fw/" + s.token
	s.eventually(t, func() error {
		if m := c.do(coapRequest{code: coapGet, path: path, query: []string{"size=16", "chunk=0"}}); m.status() != 205 {
			return fmt.Errorf("%d %s", m.status(), m.payload)
		}
		return nil
	})
	for exponent, size := range map[int]int{6: 1024, 2: 64} {
		t.Run(fmt.Sprintf("C16 in blocks of %d", size), func(t *testing.T) {
			var got []byte
			for n := 0; ; n++ {
				m := c.do(coapRequest{code: coapGet, path: path, block2: n<<4 | exponent + 1})
				block := m.options[coapBlock2]
				if m.status() != 205 || int(block>>4) != n || int(block&7) != exponent {
					t.Fatalf("block %d: %d, Block2 %#x, %s", n, m.status(), block, m.payload)
				}
				got = append(got, m.payload...)
				if more := block&8 != 0; !more || len(got) > len(s.data) {
					break
				}
			}
			if !bytes.Equal(got, s.data) {
				t.Errorf("%d bytes, want %d", len(got), len(s.data))
			}
		})
	}
	t.Run("C16 a chunk", func(t *testing.T) {
		m := c.do(coapRequest{code: coapGet, path: path, query: []string{"size=1024", "chunk=1"}})
		if m.status() != 205 || m.payload != string(s.data[1024:2048]) {
			t.Errorf("%d, %d bytes", m.status(), len(m.payload))
		}
	})
	t.Run("C16 nothing assigned", func(t *testing.T) {
		if m := c.do(coapRequest{code: coapGet, path: "fw/" + s.without}); m.status() != 404 {
			t.Errorf("%d %s", m.status(), m.payload)
		}
	})
}
