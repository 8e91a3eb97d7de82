package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
)

// FirmwareVersion is the version of every package that NewFirmware makes.
const FirmwareVersion = "1.0"

// NewFirmware makes a firmware package for the profile of a device, with data, and returns its id.
func (t *Tenant) NewFirmware(ctx context.Context, device, title string, data []byte) (id string, err error) {
	var of struct{ DeviceProfileID ref }
	if err := t.call(ctx, http.MethodGet, "/api/device/"+device, nil, &of); err != nil {
		return "", err
	}
	var made struct{ ID ref }
	if err := t.call(ctx, http.MethodPost, "/api/otaPackage", map[string]any{
		"deviceProfileId": of.DeviceProfileID, "type": "FIRMWARE", "title": title, "version": FirmwareVersion,
	}, &made); err != nil {
		return "", err
	}
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	part, err := writer.CreateFormFile("file", "firmware.bin")
	if err != nil {
		return "", err
	}
	if _, err := part.Write(data); err != nil {
		return "", err
	}
	if err := writer.Close(); err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+"/api/otaPackage/"+made.ID.ID+"?checksumAlgorithm=SHA256", &form)
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", writer.FormDataContentType())
	request.Header.Set("X-Authorization", "Bearer "+t.token)
	response, err := t.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("upload: %s %s", response.Status, text)
	}
	return made.ID.ID, nil
}

// AssignFirmware assigns a package to a device.
func (t *Tenant) AssignFirmware(ctx context.Context, device, firmware string) error {
	var document map[string]any
	if err := t.call(ctx, http.MethodGet, "/api/device/"+device, nil, &document); err != nil {
		return err
	}
	document["firmwareId"] = ref{"OTA_PACKAGE", firmware}
	return t.call(ctx, http.MethodPost, "/api/device", document, nil)
}
