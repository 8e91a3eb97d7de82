package corenode

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob/folder"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/s3"
)

// TestWhereBlobsAre: a bucket is shared, a folder only if it is said to be; a node of its own needs neither.
func TestWhereBlobsAre(t *testing.T) {
	bucket := s3.Settings{Bucket: "the-bucket", Region: "us-east-1", KeyID: "id", Secret: "secret", Timeout: time.Second}
	for name, c := range map[string]struct {
		store   string
		blobs   blobSettings
		uploads bool
	}{
		"alone":           {storePebble, blobSettings{}, true},
		"a folder":        {storeCassandra, blobSettings{Folder: "somewhere"}, false},
		"a shared folder": {storeCassandra, blobSettings{Folder: "somewhere", Shared: true}, true},
		"a bucket":        {storeCassandra, blobSettings{S3: bucket}, true},
	} {
		store, noUploads, err := Config{Store: c.store, DataDir: "data", Blobs: c.blobs}.openBlobs()
		if err != nil || (noUploads == "") != c.uploads {
			t.Errorf("%s: %q, %v", name, noUploads, err)
		}
		_, isBucket := store.(*s3.Store)
		if _, isFolder := store.(*folder.Folder); isBucket != (name == "a bucket") || isFolder == isBucket {
			t.Errorf("%s: it is a %T", name, store)
		}
	}
	for blobs, name := range map[blobSettings]string{
		{S3: bucket, Folder: "somewhere"}:                    "--blob-folder:",
		{S3: s3.Settings{Secret: "secret"}}:                  "--blob-s3-secret:",
		{S3: s3.Settings{Bucket: "the-bucket", Region: "x"}}: "--blob-s3-key-id:",
	} {
		if err := blobs.validate(); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%+v: %v, want %s", blobs, err, name)
		}
	}
}
