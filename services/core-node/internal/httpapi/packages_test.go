package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob/blobtest"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

type packageAnswer struct {
	ID, DeviceProfileID                                          entityRef
	Type, Title, Version, Name                                   string
	Tag, URL, FileName, ContentType, ChecksumAlgorithm, Checksum *string
	HasData                                                      bool
	DataSize                                                     *int64
	AdditionalInfo                                               json.RawMessage
}

// packageOf is the body of a new package for a profile; more are further fields.
func packageOf(kind, title, version, profile, more string) string {
	return fmt.Sprintf(`{"type":%q,"title":%q,"version":%q,"deviceProfileId":{"entityType":"DEVICE_PROFILE","id":%q}%s}`, kind, title, version, profile, more)
}

func newPackage(t *testing.T, c *httpapitest.Client, body string) packageAnswer {
	t.Helper()
	var p packageAnswer
	c.Do("POST", "/api/otaPackage", body).Expect(200).JSON(&p)
	return p
}

// complete makes a package with data.
func complete(t *testing.T, c *httpapitest.Client, kind, title, profile string, data []byte) packageAnswer {
	t.Helper()
	p := newPackage(t, c, packageOf(kind, title, "1.0", profile, ""))
	c.Upload(p.ID.ID, "checksumAlgorithm=SHA256", title+".bin", data).Expect(200).JSON(&p)
	return p
}

func demoProfile(t *testing.T, p *httpapitest.Platform) string {
	t.Helper()
	return p.Demo(t, "Test Device A1").Profile.String()
}

// blobs are the files that hold data of packages.
func blobs(t *testing.T, p *httpapitest.Platform) (found []string) {
	t.Helper()
	err := filepath.WalkDir(p.Blobs, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestPackageIsMadeUploadedAndDownloaded(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	answer := c.Do("POST", "/api/otaPackage", packageOf("FIRMWARE", "fw", "1.0", demoProfile(t, p), `,"tag":"fw 1.0","additionalInfo":{"description":"x"}`)).Expect(200)
	var fields map[string]json.RawMessage
	answer.JSON(&fields)
	want := []string{
		"additionalInfo", "checksum", "checksumAlgorithm", "contentType", "createdTime", "dataSize", "deviceProfileId", "externalId", "fileName",
		"hasData", "id", "name", "tag", "tenantId", "title", "type", "url", "version",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("fields of a package (-want +got):\n%s", diff)
	}
	var made packageAnswer
	answer.JSON(&made)
	if made.HasData || made.DataSize != nil || made.Name != "fw" || made.ID.EntityType != "OTA_PACKAGE" || *made.Tag != "fw 1.0" {
		t.Errorf("before its data came: %s", answer.Body)
	}
	path := "/api/otaPackage/" + made.ID.ID
	c.Do("GET", path+"/download", nil).ExpectError(404, 32)

	data := blobtest.Data(3<<20+17, 1)
	c.Upload(made.ID.ID, "checksumAlgorithm=MURMUR3_128", `..\a/fürm "ware".bin`, data).Expect(200).JSON(&made)
	if !made.HasData || *made.DataSize != int64(len(data)) || *made.ContentType != "application/x-firmware" || len(*made.Checksum) != 32 {
		t.Errorf("after its data came: %+v", made)
	}
	for _, path := range []string{path, "/api/otaPackage/info/" + made.ID.ID} {
		var read packageAnswer
		c.Get(path, &read)
		if diff := cmp.Diff(made, read); diff != "" {
			t.Errorf("%s (-uploaded +read):\n%s", path, diff)
		}
	}
	got := c.Do("GET", path+"/download", nil).Expect(200)
	if !bytes.Equal(got.Body, data) {
		t.Errorf("downloaded %d bytes, not those uploaded", len(got.Body))
	}
	if got.Header.Get("Content-Type") != "application/x-firmware" || got.Header.Get("x-filename") != `fürm "ware".bin` ||
		!strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("headers of a download: %v", got.Header)
	}
	part := c.Do("GET", path+"/download", nil, "Range", "bytes=1048570-1048580").Expect(206)
	if !bytes.Equal(part.Body, data[1048570:1048581]) {
		t.Errorf("a range is %d bytes, or others", len(part.Body))
	}
	c.Do("GET", path+"/download", nil, "If-None-Match", got.Header.Get("ETag")).Expect(304)
	c.Do("GET", path+"/download", nil, "Range", "bytes=99999999-").Expect(416)
}

func TestChecksumsAreComputedAndVerified(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	profile, data := demoProfile(t, p), []byte("The quick brown fox jumps over the lazy dog")
	for algorithm, sum := range map[string]string{
		"MD5":    "9e107d9d372bb6826bd81d3542a419d6",
		"SHA256": "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592",
		"SHA384": "ca737f1014a48f4c0b6dd43cb177b0afd9e5169367544c494011e3317dbf9a509cb1e5dc1e85a941bbee3d7f2afbc9b1",
		"SHA512": "07e547d9586f6a73f73fbac0435ed76951218fb7d0c8d788a309d785436bbb642e93a252a954f23912547d1e8a3b5ed6e1bfd7097821233fa0538f3db854fee6",
		"CRC32":  "39a34f41", "MURMUR3_32": "23f74f2e", "MURMUR3_128": "6c1b07bc7bbc4be347939ac4a93c437a",
	} {
		one := newPackage(t, c, packageOf("FIRMWARE", algorithm, "1", profile, ""))
		query := "checksumAlgorithm=" + algorithm
		if message := c.Upload(one.ID.ID, query+"&checksum=0"+sum[1:], "f", append(data, '.')).ExpectError(400, 31); !strings.Contains(message, "checksum") {
			t.Errorf("%s: %s", algorithm, message)
		}
		if left := blobs(t, p); len(left) > 0 {
			t.Fatalf("%s: a refused upload left %v", algorithm, left)
		}
		c.Upload(one.ID.ID, query+"&checksum="+strings.ToUpper(sum), "f", data).Expect(200).JSON(&one)
		if *one.Checksum != sum || *one.ChecksumAlgorithm != algorithm {
			t.Errorf("%s: verified, and kept as %q", algorithm, *one.Checksum)
		}
		two := newPackage(t, c, packageOf("SOFTWARE", algorithm, "1", profile, ""))
		c.Upload(two.ID.ID, query, "f", data).Expect(200).JSON(&two)
		if *two.Checksum != sum {
			t.Errorf("%s: computed as %q, want %q", algorithm, *two.Checksum, sum)
		}
		for _, id := range []string{one.ID.ID, two.ID.ID} {
			c.Do("DELETE", "/api/otaPackage/"+id, nil).Expect(200)
		}
		for _, file := range blobs(t, p) { // they are removed in time
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestUploadsRefused(t *testing.T) {
	p := httpapitest.Start(t, func(o *httpapitest.Options) { o.OTA.MaxBytes = 2000 })
	c := p.Admin(t)
	profile := demoProfile(t, p)
	one := newPackage(t, c, packageOf("FIRMWARE", "fw", "1", profile, ""))
	linked := newPackage(t, c, packageOf("FIRMWARE", "linked", "1", profile, `,"url":"https://example.org/fw","usesUrl":true`))
	path := "/api/otaPackage/" + one.ID.ID
	c.Upload(one.ID.ID, "", "f", []byte("x")).ExpectError(400, 31)
	c.Upload(one.ID.ID, "checksumAlgorithm=SHA1", "f", []byte("x")).ExpectError(400, 31)
	c.Upload(one.ID.ID, "checksumAlgorithm=MD5", "", []byte("x")).ExpectError(400, 31)
	c.Upload(linked.ID.ID, "checksumAlgorithm=MD5", "f", []byte("x")).ExpectError(400, 31)
	c.Upload(one.ID.ID, "checksumAlgorithm=MD5", "f", make([]byte, 2001)).ExpectError(413, 31)
	c.Do("POST", path+"?checksumAlgorithm=MD5", `{}`).ExpectError(400, 31)
	c.Do("POST", path+"?checksumAlgorithm=MD5", "--x\r\nno form", "Content-Type", "multipart/form-data; boundary=x").ExpectError(400, 31)
	c.Do("POST", path+"?checksumAlgorithm=MD5", "--x--\r\n", "Content-Type", "multipart/form-data; boundary=x").ExpectError(400, 31)
	whole, contentType := httpapitest.Form(t, "f", make([]byte, 1000))
	c.Do("POST", path+"?checksumAlgorithm=MD5", whole[:len(whole)-100], "Content-Type", contentType).ExpectError(400, 31)
	fields, contentType := httpapitest.Form(t, "f", []byte("x"), "checksumAlgorithm", strings.Repeat("M", 2000))
	c.Do("POST", path, fields, "Content-Type", contentType).ExpectError(400, 31)
	if left := blobs(t, p); len(left) > 0 {
		t.Errorf("refused uploads left %v", left)
	}
	// Fields of the form say as much as the query; the bound itself is allowed.
	fields, contentType = httpapitest.Form(t, "f", make([]byte, 2000), "other", "x", "checksumAlgorithm", "CRC32", "checksum", "")
	c.Do("POST", path, fields, "Content-Type", contentType).Expect(200)
	// Data does not change; the same data again is what a repeated request sends.
	c.Upload(one.ID.ID, "checksumAlgorithm=CRC32", "f", make([]byte, 2000)).Expect(200)
	c.Upload(one.ID.ID, "checksumAlgorithm=CRC32", "f", make([]byte, 1999)).ExpectError(400, 31)
	if left := blobs(t, p); len(left) != 1 {
		t.Errorf("there are %v, want the one blob", left)
	}
}

func TestPackagesAreUniqueAndDoNotChange(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	profile := demoProfile(t, p)
	one := newPackage(t, c, packageOf("FIRMWARE", "fw", "1", profile, ""))
	c.Do("POST", "/api/otaPackage", packageOf("FIRMWARE", "fw", "1", profile, "")).ExpectError(400, 31)
	newPackage(t, c, packageOf("FIRMWARE", "fw", "2", profile, ""))
	newPackage(t, c, packageOf("SOFTWARE", "fw", "1", profile, ""))
	for name, body := range map[string]string{
		"no type":            packageOf("", "x", "1", profile, ""),
		"another type":       packageOf("HARDWARE", "x", "1", profile, ""),
		"no title":           packageOf("FIRMWARE", "", "1", profile, ""),
		"no version":         packageOf("FIRMWARE", "x", "", profile, ""),
		"a long title":       packageOf("FIRMWARE", strings.Repeat("x", 256), "1", profile, ""),
		"markup":             packageOf("FIRMWARE", "<script>", "1", profile, ""),
		"no profile":         `{"type":"FIRMWARE","title":"x","version":"1"}`,
		"an unknown one":     packageOf("FIRMWARE", "x", "1", one.ID.ID, ""),
		"a URL, but none":    packageOf("FIRMWARE", "x", "1", profile, `,"usesUrl":true,"url":" "`),
		"a URL that is none": packageOf("FIRMWARE", "x", "1", profile, `,"url":"firmware"`),
	} {
		if message := c.Do("POST", "/api/otaPackage", body).ExpectError(400, 31); message == "" {
			t.Errorf("%s: no reason", name)
		}
	}
	id := fmt.Sprintf(`,"id":{"entityType":"OTA_PACKAGE","id":%q}`, one.ID.ID)
	var saved packageAnswer
	c.Do("POST", "/api/otaPackage", packageOf("FIRMWARE", "fw", "1", profile, id+`,"additionalInfo":{"description":"new"}`)).Expect(200).JSON(&saved)
	if string(saved.AdditionalInfo) != `{"description":"new"}` {
		t.Errorf("additionalInfo %s", saved.AdditionalInfo)
	}
	for _, body := range []string{
		packageOf("SOFTWARE", "fw", "1", profile, id), packageOf("FIRMWARE", "other", "1", profile, id), packageOf("FIRMWARE", "fw", "3", profile, id),
		packageOf("FIRMWARE", "fw", "1", profile, id+`,"tag":"x"`), packageOf("FIRMWARE", "fw", "1", profile, id+`,"url":"https://example.org/x"`),
	} {
		c.Do("POST", "/api/otaPackage", body).ExpectError(400, 31)
	}
}

func TestPackagesAreListed(t *testing.T) {
	p := httpapitest.Start(t)
	c, user := p.Admin(t), p.Customer(t)
	profile := demoProfile(t, p)
	complete(t, c, "FIRMWARE", "with data", profile, []byte("x"))
	complete(t, c, "SOFTWARE", "app", profile, []byte("x"))
	newPackage(t, c, packageOf("FIRMWARE", "empty", "1.0", profile, ""))
	newPackage(t, c, packageOf("FIRMWARE", "linked", "2.0", profile, `,"url":"https://example.org/fw"`))
	for path, want := range map[string][]string{
		"/api/otaPackages?pageSize=10&page=0&sortProperty=title":                                              {"app", "empty", "linked", "with data"},
		"/api/otaPackages?pageSize=2&page=1&sortProperty=title&sortOrder=DESC":                                {"empty", "app"},
		"/api/otaPackages?pageSize=10&page=0&textSearch=2.0":                                                  {"linked"},
		"/api/otaPackages/" + profile + "/FIRMWARE?pageSize=10&page=0&sortProperty=title":                     {"linked", "with data"},
		"/api/otaPackages/" + profile + "/SOFTWARE?pageSize=10&page=0&sortProperty=createdTime&sortOrder=ASC": {"app"},
	} {
		for _, who := range []*httpapitest.Client{c, user} {
			var page struct{ Data []packageAnswer }
			who.Get(path, &page)
			var got []string
			for _, one := range page.Data {
				got = append(got, one.Title)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
	c.Do("GET", "/api/otaPackages/"+profile+"/HARDWARE?pageSize=10&page=0", nil).ExpectError(400, 31)
	var number int
	c.Get("/api/devices/count/FIRMWARE/"+profile, &number)
	if number == 0 {
		t.Error("no device follows the profile")
	}
}

func TestPackagesRoles(t *testing.T) {
	p := httpapitest.Start(t)
	c, user, system := p.Admin(t), p.Customer(t), p.System(t)
	one := complete(t, c, "FIRMWARE", "fw", demoProfile(t, p), []byte("data"))
	user.Do("GET", "/api/otaPackage/info/"+one.ID.ID, nil).Expect(200)
	for _, who := range []*httpapitest.Client{user, system} {
		who.Do("GET", "/api/otaPackage/"+one.ID.ID, nil).ExpectError(403, 20)
		who.Do("GET", "/api/otaPackage/"+one.ID.ID+"/download", nil).ExpectError(403, 20)
		who.Do("DELETE", "/api/otaPackage/"+one.ID.ID, nil).ExpectError(403, 20)
		who.Do("POST", "/api/otaPackage", "{}").ExpectError(403, 20)
		who.Upload(one.ID.ID, "checksumAlgorithm=MD5", "f", []byte("x")).ExpectError(403, 20)
	}
	system.Do("GET", "/api/otaPackage/info/"+one.ID.ID, nil).ExpectError(403, 20)
}
