package ota

import (
	"fmt"
	"time"
)

// Settings are what operators set of packages.
type Settings struct {
	MaxBytes      int64         `name:"ota-max-bytes" help:"Largest OTA package, bytes." default:"268435456"`
	Uploads       int           `name:"ota-uploads" help:"Most OTA packages uploaded at once to this node; beyond, uploads are refused as too many." default:"4"`
	Announcements int           `name:"ota-announcements" help:"Most devices told of an OTA package at once by a node." default:"32"`
	UploadTimeout time.Duration `name:"ota-upload-timeout" help:"Longest time one upload or download of an OTA package may take." default:"10m"`
}

// DefaultSettings are the settings nobody changed, for tests and code that has no flags.
func DefaultSettings() Settings {
	return Settings{MaxBytes: 256 << 20, Uploads: 4, Announcements: 32, UploadTimeout: 10 * time.Minute}
}

// Validate names the setting that is no bound.
func (s Settings) Validate() error {
	for name, value := range map[string]int64{
		"ota-max-bytes": s.MaxBytes, "ota-uploads": int64(s.Uploads), "ota-announcements": int64(s.Announcements), "ota-upload-timeout": int64(s.UploadTimeout),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s: %d is not a positive number", name, value)
		}
	}
	return nil
}
