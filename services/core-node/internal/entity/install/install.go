// Package install makes what a new platform starts with: the system's profile and administrator,
// and for demonstrations the accounts and devices the field's tutorials name.
package install

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// AdminEmail is who the first system administrator logs in as.
const AdminEmail = "sysadmin@thingsboard.org"

// Hasher hashes passwords; *password.Hasher is one.
type Hasher interface {
	Hash(ctx context.Context, password string) (string, error)
}

// System makes the default tenant profile and a system administrator, where they are missing.
// It returns the administrator's password when it made one: nobody can ask for it again.
func System(ctx context.Context, r *entity.Registry, h Hasher) (password string, err error) {
	if err := tenantProfile(ctx, r); err != nil {
		return "", err
	}
	admins, err := r.Users.List(ctx, noTenant, entity.UserFilter{Authority: entity.SysAdmin}, entity.PageRequest{Size: 1})
	if err != nil {
		return "", fmt.Errorf("look for system administrators: %w", err)
	}
	if admins.Total > 0 {
		return "", nil
	}
	password = rand.Text()
	hash, err := h.Hash(ctx, password)
	if err != nil {
		return "", fmt.Errorf("hash the administrator's password: %w", err)
	}
	if err := account(ctx, r, entity.User{Email: AdminEmail, Authority: entity.SysAdmin}, hash); err != nil {
		return "", err
	}
	return password, nil
}

func tenantProfile(ctx context.Context, r *entity.Registry) error {
	_, err := r.Tenants.DefaultProfile(ctx)
	if !errors.Is(err, storage.ErrNotFound) {
		return wrap("look for the default tenant profile", err)
	}
	_, err = r.Tenants.CreateProfile(ctx, entity.TenantProfile{Name: "Default", Description: "Default tenant profile", Data: []byte(tenantProfileData)})
	return wrap("create the default tenant profile", err)
}

// tenantProfileData limits nothing (rest-api §3.5, tenant limits: 0 is unlimited, null no rate limit).
const tenantProfileData = `{"configuration":{"type":"DEFAULT","maxDevices":0,"maxAssets":0,"maxCustomers":0,"maxUsers":0,"maxDashboards":0,` +
	`"maxRuleChains":0,"maxTransportMessages":0,"maxTransportDataPoints":0,"maxREExecutions":0,"maxJSExecutions":0,"maxDPStorageDays":0,` +
	`"maxRuleNodeExecutionsPerMessage":0,"defaultStorageTtlDays":0},"queueConfiguration":null}`

// account makes a user who can log in, unless the address is somebody's already.
func account(ctx context.Context, r *entity.Registry, u entity.User, hash string) error {
	_, err := r.Users.CreateActive(ctx, u, hash)
	if errors.Is(err, storage.ErrTaken) {
		return nil
	}
	return wrap("create user "+u.Email, err)
}

func wrap(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
