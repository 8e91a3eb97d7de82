package sendemail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wneessen/go-mail"
)

// compose makes the mail; the error names the field that is wrong.
func compose(what sent) (*mail.Msg, error) {
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if what.To == "" {
		return nil, errors.New("to: a receiver is needed")
	}
	if err := m.From(what.From); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	for _, receivers := range []struct {
		field, texts string
		set          func(...string) error
	}{{"to", what.To, m.To}, {"cc", what.Cc, m.Cc}, {"bcc", what.Bcc, m.Bcc}} {
		if receivers.texts == "" {
			continue
		}
		if err := receivers.set(split(receivers.texts)...); err != nil {
			return nil, fmt.Errorf("%s: %w", receivers.field, err)
		}
	}
	m.Subject(what.Subject)
	if !what.HTML {
		m.SetBodyString(mail.TypeTextPlain, what.Body)
		return m, nil
	}
	m.SetBodyString(mail.TypeTextHTML, what.Body)
	for _, name := range slices.Sorted(maps.Keys(what.Images)) {
		if err := embed(m, name, what.Images[name]); err != nil {
			return nil, fmt.Errorf("images.%s: %w", name, err)
		}
	}
	return m, nil
}

// split returns the addresses of a list.
func split(list string) []string {
	var addresses []string
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one != "" {
			addresses = append(addresses, one)
		}
	}
	return addresses
}

// embed adds an image that the HTML names as cid:name; it is a data URL, or base64 alone.
func embed(m *mail.Msg, name, image string) error {
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '<' || c == '>' }) {
		return errors.New("the name is no content id")
	}
	kind, data, isURL := strings.Cut(image, ",")
	if !isURL {
		kind, data = "data:image/png;base64", image
	}
	content, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return err
	}
	kind = strings.TrimSuffix(strings.TrimPrefix(kind, "data:"), ";base64")
	return m.EmbedReader(name, bytes.NewReader(content), mail.WithFileContentID("<"+name+">"), mail.WithFileContentType(mail.ContentType(kind)))
}
