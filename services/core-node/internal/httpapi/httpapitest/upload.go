package httpapitest

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"testing"
)

// Upload sends data as the file of a package; query is that of the request, without "?".
func (c *Client) Upload(id, query, fileName string, data []byte) Answer {
	c.t.Helper()
	body, contentType := Form(c.t, fileName, data)
	return c.Do("POST", "/api/otaPackage/"+id+"?"+query, body, "Content-Type", contentType)
}

// Form is a form with fields, given as name and value in turn, and then the file.
func Form(t testing.TB, fileName string, data []byte, fields ...string) (body []byte, contentType string) {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="file"; filename=%q`, fileName)}, "Content-Type": {"application/x-firmware"},
	})
	if err == nil {
		_, err = part.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return form.Bytes(), w.FormDataContentType()
}
