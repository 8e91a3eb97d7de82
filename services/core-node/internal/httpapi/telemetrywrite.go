package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// telemetryWriteRoutes are those of rest-api §2.6 that save and delete.
func (a *api) telemetryWriteRoutes() []route {
	const device = telemetryPrefix + "/{entityId}"
	const entity = telemetryPrefix + "/{entityType}/{entityId}"
	return []route{
		{"POST", device + "/{scope}", everyone(), a.saveAttributes},
		{"POST", entity + "/{scope}", everyone(), a.saveAttributes},
		{"POST", entity + "/attributes/{scope}", everyone(), a.saveAttributes},
		{"POST", entity + "/timeseries/{any}", everyone(), a.saveTelemetry},
		{"POST", entity + "/timeseries/{any}/{ttl}", everyone(), a.saveTelemetry},
		{"DELETE", entity + "/timeseries/delete", everyone(), a.deleteTelemetry},
		{"DELETE", device + "/{scope}", everyone(), a.deleteAttributes},
		{"DELETE", entity + "/{scope}", everyone(), a.deleteAttributes},
	}
}

// writable is the entity of the path and its tenant, if p may write its values. A path without a type names a device.
func (a *api) writable(r *http.Request, p auth.Principal) (ident.EntityID, ident.TenantID, error) {
	e := ident.EntityID{Type: ident.Device}
	var err error
	if chi.URLParam(r, "entityType") == "" {
		e.ID, err = pathID(r, "entityId")
	} else {
		e, err = pathEntity(r)
	}
	if err != nil {
		return e, ident.TenantID{}, err
	}
	tenant, err := a.Guard.Values(r.Context(), p, e, auth.WriteValues)
	if err != nil {
		return e, tenant, plain{err}
	}
	return e, tenant, nil
}

func (a *api) saveAttributes(r *http.Request, p auth.Principal) (any, error) {
	scope, err := parseScope(chi.URLParam(r, "scope"))
	if err != nil {
		return nil, err
	}
	e, tenant, err := a.writable(r, p)
	if err != nil {
		return nil, err
	}
	return plainly(nil, a.storeAttributes(r, e, tenant, scope))
}

func (a *api) storeAttributes(r *http.Request, e ident.EntityID, tenant ident.TenantID, scope storage.Scope) error {
	if scope == storage.Client {
		return fault.New(fault.Invalid, "Invalid scope: "+clientScope+" is written by the device alone")
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	kvs, err := parseAttributes(body)
	if err != nil {
		return err
	}
	return a.Writer.SaveAttributes(r.Context(), tenant, e, scope, kvs)
}

func (a *api) saveTelemetry(r *http.Request, p auth.Principal) (any, error) {
	ttl, err := pathTTL(r)
	if err != nil {
		return nil, err
	}
	e, tenant, err := a.writable(r, p)
	if err != nil {
		return nil, err
	}
	return plainly(nil, a.storeTelemetry(r, e, tenant, ttl))
}

func (a *api) storeTelemetry(r *http.Request, e ident.EntityID, tenant ident.TenantID, ttl time.Duration) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	records, err := parseTelemetry(body, a.Now().UnixMilli())
	if err != nil {
		return err
	}
	return a.Writer.SaveTelemetry(r.Context(), tenant, e, records, ttl)
}

// pathTTL reads the seconds rows are to be kept; 0, or none, is for ever.
func pathTTL(r *http.Request) (time.Duration, error) {
	given := chi.URLParam(r, "ttl")
	if given == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseInt(given, 10, 64)
	if err != nil || seconds < 0 || seconds > math.MaxInt64/int64(time.Second) {
		return 0, invalid("ttl", strconv.Quote(given)+" is not a number of seconds")
	}
	return time.Duration(seconds) * time.Second, nil
}

func (a *api) deleteAttributes(r *http.Request, p auth.Principal) (any, error) {
	scope, err := parseScope(chi.URLParam(r, "scope"))
	if err != nil {
		return nil, err
	}
	e, tenant, err := a.writable(r, p)
	if err != nil {
		return nil, err
	}
	keys := keyList(r)
	if len(keys) == 0 {
		return nil, plain{errNoKeys}
	}
	return plainly(nil, a.Writer.DeleteAttributes(r.Context(), tenant, e, scope, keys))
}

var errNoKeys = fault.New(fault.Invalid, "keys: is required")

func (a *api) deleteTelemetry(r *http.Request, p auth.Principal) (any, error) {
	what, err := readDeletion(r)
	if err != nil {
		return nil, err
	}
	e, tenant, err := a.writable(r, p)
	if err != nil {
		return nil, err
	}
	return plainly(nil, a.Writer.DeleteTelemetry(r.Context(), tenant, e, what))
}

func readDeletion(r *http.Request) (telemetry.DeleteTelemetry, error) {
	what := telemetry.DeleteTelemetry{Keys: keyList(r)}
	if len(what.Keys) == 0 {
		return what, plain{errNoKeys}
	}
	for _, field := range []struct {
		name      string
		into      *bool
		otherwise bool
	}{
		{"deleteAllDataForKeys", &what.All, false},
		{"deleteLatest", &what.DeleteLatest, true},
		{"rewriteLatestIfDeleted", &what.RewriteLatestIfDeleted, false},
	} {
		is, err := flagOr(r, field.name, field.otherwise)
		if err != nil {
			return what, err
		}
		*field.into = is
	}
	if what.All {
		return what, nil
	}
	var err error
	if what.Within.Start, err = number(r, "startTs"); err != nil {
		return what, plain{err}
	}
	if what.Within.End, err = number(r, "endTs"); err != nil {
		return what, plain{err}
	}
	return what, nil
}
