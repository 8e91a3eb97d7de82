package gateway

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// metadata is what a gateway says of how a reading came: through which of its connectors, and when (ms since the epoch, by
// the gateway's clock) it was received from the device and published to here (device-api §2.3).
type metadata struct {
	connector           string
	received, published int64
}

const metadataName = "metadata"

// mentionsMetadata reports whether an element of data may carry metadata; usually none does.
func mentionsMetadata(data []byte) bool {
	return bytes.Contains(data, []byte(`"`+metadataName+`"`)) || bytes.Contains(data, []byte(`\u`))
}

// rewriter takes metadata out of arrays of telemetry. Reuse it.
type rewriter struct {
	found   []metadata
	text    []byte // arrays without their metadata
	decoder *jsontext.Decoder
}

func (r *rewriter) reset() {
	r.found, r.text = r.found[:0], r.text[:0]
	if cap(r.found) > keptSplit {
		r.found = nil
	}
	if cap(r.text) > 64*keptSplit {
		r.text = nil
	}
}

// array returns value with the metadata of its elements made null, which is no reading. broken: value is no JSON, or the
// metadata does not say what it must.
func (r *rewriter) array(value []byte) (without []byte, broken bool) {
	found, from, kept := len(r.found), len(r.text), 0
	if r.decoder == nil {
		r.decoder = new(jsontext.Decoder)
	}
	r.decoder.Reset(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true))
	err := r.elements(value, &kept)
	if err != nil {
		r.found, r.text = r.found[:found], r.text[:from]
		return nil, true
	}
	if kept == 0 {
		return value, false
	}
	r.text = append(r.text, value[kept:]...)
	return r.text[from:len(r.text):len(r.text)], false
}

// elements goes through the array that the decoder is before. kept is how much of value is in r.text.
func (r *rewriter) elements(value []byte, kept *int) error {
	d := r.decoder
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if d.PeekKind() != '{' {
			if err := d.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if err := r.element(value, kept); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func (r *rewriter) element(value []byte, kept *int) error {
	d := r.decoder
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if name.String() != metadataName {
			if err := d.SkipValue(); err != nil {
				return err
			}
			continue
		}
		said, err := d.ReadValue()
		if err != nil {
			return err
		}
		m, err := parseMetadata(said)
		if err != nil {
			return err
		}
		r.found = append(r.found, m)
		end := int(d.InputOffset())
		r.text = append(append(r.text, value[*kept:end-len(said)]...), "null"...)
		*kept = end
	}
	_, err := d.ReadToken()
	return err
}

// parseMetadata reads {"connector":"c","receivedTs":ms,"publishedTs":ms}; all three must be there.
func parseMetadata(text []byte) (m metadata, err error) {
	var said struct {
		Connector *string `json:"connector"`
		Received  *int64  `json:"receivedTs"`
		Published *int64  `json:"publishedTs"`
	}
	if err := json.Unmarshal(text, &said, jsontext.AllowDuplicateNames(true)); err != nil {
		return m, err
	}
	if said.Connector == nil || said.Received == nil || said.Published == nil {
		return m, errUnusable
	}
	return metadata{connector: *said.Connector, received: *said.Received, published: *said.Published}, nil
}
