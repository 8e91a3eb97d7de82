package corenode

import (
	"errors"
	"path/filepath"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/folder"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/s3"
)

// blobSettings are what operators set of the store of blobs.
type blobSettings struct {
	Folder string      `name:"blob-folder" help:"Folder that holds the data of OTA packages; empty: blobs in the data folder." default:""`
	Shared bool        `name:"blob-shared" help:"The blob folder is one that all core nodes share. In a fleet data is uploaded only if it is, or into a bucket." default:"false"`
	S3     s3.Settings `embed:""`
}

// validate names the setting that is wrong, or that another contradicts.
func (s blobSettings) validate() error {
	if s.S3.Bucket != "" && s.Folder != "" {
		return errors.New("--blob-folder: --blob-s3-bucket is set too, and data is kept in one of them")
	}
	return s.S3.Validate()
}

// noSharedBlobs is why a node of a fleet takes no uploads, in words for operators.
const noSharedBlobs = "OTA packages cannot be uploaded here: core nodes of a fleet need a place for them that all share. " +
	"Set --blob-s3-bucket, or --blob-folder to a shared folder and --blob-shared. Packages with a URL work without"

// openBlobs returns the store of blobs, and why nothing can be put into it, if nothing can.
func (c Config) openBlobs() (store blob.Store, noUploads string, err error) {
	abandoned := 2 * c.OTA.UploadTimeout
	if c.Blobs.S3.Bucket != "" {
		store, err = s3.New(s3.Options{Settings: c.Blobs.S3, Abandoned: abandoned})
		return store, "", err
	}
	dir := c.Blobs.Folder
	if dir == "" {
		dir = filepath.Join(c.DataDir, "blobs")
	}
	if c.Store != storePebble && !c.Blobs.Shared {
		noUploads = noSharedBlobs
	}
	return folder.New(folder.Options{Dir: dir, Reserve: c.StoreReserve, Abandoned: abandoned}), noUploads, nil
}
