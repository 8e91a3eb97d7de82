package httpapi

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	timed "github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// deviceImportRoutes is that of rest-api §2.4 that makes devices of the lines of a table.
func (a *api) deviceImportRoutes() []route {
	return []route{{"POST", "/api/device/bulk_import", tenants(), a.importDevices}}
}

// importRequest is BulkImportRequest (rest-api §2.4). Devices of names there are already are always updated.
type importRequest struct {
	File    string
	Mapping struct {
		Columns   []importColumn
		Delimiter string
		Header    bool
	}
}

type importColumn struct{ Type, Key string }

// The columns there are. Those with a key hold values, the others say what the device is.
const (
	columnName         = "NAME"
	columnType         = "TYPE"
	columnLabel        = "LABEL"
	columnDescription  = "DESCRIPTION"
	columnGateway      = "IS_GATEWAY"
	columnShared       = "SHARED_ATTRIBUTE"
	columnServer       = "SERVER_ATTRIBUTE"
	columnSeries       = "TIMESERIES"
	columnToken        = "ACCESS_TOKEN"
	columnCertificate  = "X509"
	columnMQTTClient   = "MQTT_CLIENT_ID"
	columnMQTTUser     = "MQTT_USER_NAME"
	columnMQTTPassword = "MQTT_PASSWORD"
)

// importResult is BulkImportResult. A line with an error may have been carried out in part.
type importResult struct {
	Created    int      `json:"created"`
	Updated    int      `json:"updated"`
	Errors     int      `json:"errors"`
	ErrorsList []string `json:"errorsList"`
}

// importDevices takes the lines one after the other: doing it again does no harm, so a fault of the platform ends the request.
func (a *api) importDevices(r *http.Request, p auth.Principal) (any, error) {
	var in importRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	lines, err := in.reader()
	if err != nil {
		return nil, err
	}
	result := importResult{ErrorsList: []string{}}
	for first := in.Mapping.Header; ; first = false {
		cells, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return result, nil
		}
		if err != nil {
			return nil, invalid("file", err.Error())
		}
		if first {
			continue
		}
		line, _ := lines.FieldPos(0)
		created, err := a.importDevice(r.Context(), p, in.read(cells))
		switch status, _, message := describe(err); {
		case err != nil && status >= http.StatusInternalServerError:
			return nil, err
		case err != nil:
			result.Errors++
			result.ErrorsList = append(result.ErrorsList, fmt.Sprintf("Line %d: %s", line, message))
		case created:
			result.Created++
		default:
			result.Updated++
		}
	}
}

// reader checks how the table is to be read.
func (in *importRequest) reader() (*csv.Reader, error) {
	named := false
	for i, c := range in.Mapping.Columns {
		field := fmt.Sprintf("mapping.columns[%d]", i)
		switch c.Type {
		case columnName:
			named = true
		case columnType, columnLabel, columnDescription, columnGateway, columnToken, columnCertificate, columnMQTTClient, columnMQTTUser, columnMQTTPassword:
		case columnShared, columnServer, columnSeries:
			if err := checkKeys([]telemetry.KeyValue{{Key: c.Key}}); err != nil {
				return nil, invalid(field+".key", err.Error())
			}
		default:
			return nil, invalid(field+".type", fmt.Sprintf("%q is not supported", c.Type))
		}
	}
	if !named {
		return nil, invalid("mapping.columns", "one must be of type "+columnName)
	}
	reader := csv.NewReader(strings.NewReader(in.File))
	reader.FieldsPerRecord = -1
	if text := in.Mapping.Delimiter; text != "" {
		delimiter, size := utf8.DecodeRuneInString(text)
		if size < len(text) || delimiter == '"' || delimiter == '\r' || delimiter == '\n' || delimiter == utf8.RuneError {
			return nil, invalid("mapping.delimiter", fmt.Sprintf("%q is not one character that can separate cells", text))
		}
		reader.Comma = delimiter
	}
	return reader, nil
}

// importedDevice is what a line says; empty cells say nothing.
type importedDevice struct {
	is             map[string]string
	shared, server []telemetry.KeyValue
	series         []telemetry.KeyValue
}

func (in *importRequest) read(cells []string) importedDevice {
	d := importedDevice{is: map[string]string{}}
	for i, c := range in.Mapping.Columns {
		if i >= len(cells) {
			break
		}
		text := strings.TrimSpace(cells[i])
		if text == "" {
			continue
		}
		kv := telemetry.KeyValue{Key: c.Key, Value: typed(text)}
		switch c.Type {
		case columnShared:
			d.shared = append(d.shared, kv)
		case columnServer:
			d.server = append(d.server, kv)
		case columnSeries:
			d.series = append(d.series, kv)
		default:
			d.is[c.Type] = text
		}
	}
	return d
}

// typed is a cell as a value: a whole number, a number, true or false, or a text.
func typed(text string) telemetry.Value {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return telemetry.OfLong(n)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) && !strings.ContainsAny(text, "xX_") {
		return telemetry.OfDouble(f)
	}
	if text == "true" || text == "false" {
		return telemetry.OfBool(text == "true")
	}
	return telemetry.OfString(text)
}

// importDevice makes or updates one device and stores its values.
func (a *api) importDevice(ctx context.Context, p auth.Principal, in importedDevice) (created bool, err error) {
	d, err := a.Entities.Devices.ByName(ctx, p.Tenant, in.is[columnName])
	created = errors.Is(err, storage.ErrNotFound)
	if err != nil && !created {
		return false, err
	}
	if created {
		d = entity.Device{Tenant: p.Tenant, Name: in.is[columnName], Data: json.RawMessage(plainDevice)}
	}
	if err := in.apply(&d); err != nil {
		return false, err
	}
	credentials, err := in.credentials(p)
	if err != nil {
		return false, err
	}
	if created {
		d, err = a.Entities.Devices.Create(ctx, d, credentials)
	} else {
		d.Version = 0 // nobody saw the one there is
		d, err = a.Entities.Devices.Update(ctx, d)
	}
	if err == nil && !created && credentials != nil {
		credentials.Device = d.ID
		_, err = a.Entities.Devices.UpdateCredentials(ctx, *credentials)
	}
	if err != nil {
		return created, err
	}
	return created, a.storeImported(ctx, p, d, in)
}

// apply changes d as the line says.
func (in importedDevice) apply(d *entity.Device) error {
	if kind := in.is[columnType]; kind != "" && kind != d.Type {
		d.Type, d.Profile = kind, ident.ID{} // found or made by its name
	}
	if label := in.is[columnLabel]; label != "" {
		d.Label = label
	}
	info := map[string]json.RawMessage{}
	if !none(d.AdditionalInfo) {
		if err := json.Unmarshal(d.AdditionalInfo, &info); err != nil {
			return fmt.Errorf("read additionalInfo: %w", err)
		}
	}
	if text := in.is[columnDescription]; text != "" {
		quoted, err := json.Marshal(text)
		if err != nil {
			return err
		}
		info["description"] = quoted
	}
	if text := in.is[columnGateway]; text != "" {
		is, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return invalid(columnGateway, fmt.Sprintf("%q is neither true nor false", text))
		}
		info["gateway"] = json.RawMessage(strconv.FormatBool(is))
	}
	if len(info) > 0 {
		text, err := json.Marshal(info)
		if err != nil {
			return err
		}
		d.AdditionalInfo = text
	}
	return checkTexts(columnName, d.Name, columnType, d.Type, columnLabel, d.Label)
}

// credentials are those the line names, the strongest of them; nil when it names none.
func (in importedDevice) credentials(p auth.Principal) (*entity.Credentials, error) {
	client, user, password := in.is[columnMQTTClient], in.is[columnMQTTUser], in.is[columnMQTTPassword]
	switch {
	case in.is[columnCertificate] != "":
		return &entity.Credentials{Tenant: p.Tenant, Type: entity.X509Certificate, CredentialsValue: in.is[columnCertificate]}, nil
	case client+user+password != "":
		text, err := json.Marshal(map[string]*string{"clientId": orNull(client), "userName": orNull(user), "password": orNull(password)})
		return &entity.Credentials{Tenant: p.Tenant, Type: entity.MQTTBasic, CredentialsValue: string(text)}, err
	case in.is[columnToken] != "":
		return &entity.Credentials{Tenant: p.Tenant, Type: entity.AccessToken, CredentialsID: in.is[columnToken]}, nil
	}
	return nil, nil
}

func (a *api) storeImported(ctx context.Context, p auth.Principal, d entity.Device, in importedDevice) error {
	if len(in.shared) > 0 {
		if err := a.Writer.SaveAttributes(ctx, p.Tenant, d.ID.Entity(), storage.Shared, in.shared); err != nil {
			return err
		}
	}
	if len(in.server) > 0 {
		if err := a.Writer.SaveAttributes(ctx, p.Tenant, d.ID.Entity(), storage.Server, in.server); err != nil {
			return err
		}
	}
	if len(in.series) == 0 {
		return nil
	}
	return a.Writer.SaveTelemetry(ctx, p.Tenant, d.ID.Entity(), []timed.Timed{{Time: a.Now().UnixMilli(), Values: in.series}}, 0)
}
