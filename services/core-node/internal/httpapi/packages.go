package httpapi

import (
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
)

// otaPackage is the entity type of firmware and software packages. There are none yet, but
// devices keep the ids they were given.
const otaPackage = "OTA_PACKAGE"

func optionalPackage(id ident.ID) *refBody {
	if id.IsZero() {
		return nil
	}
	return &refBody{EntityType: otaPackage, ID: id.String()}
}

func packageID(field string, g *given) (ident.ID, error) {
	if g == nil || g.ID == "" {
		return ident.ID{}, nil
	}
	if g.EntityType != "" && g.EntityType != otaPackage {
		return ident.ID{}, invalid(field, fmt.Sprintf("entityType is %q, want %s", g.EntityType, otaPackage))
	}
	id, err := auth.ParseID(g.ID)
	if err != nil {
		return ident.ID{}, invalid(field, err.Error())
	}
	return id, nil
}
