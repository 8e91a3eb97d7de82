package calls

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

var errUnknown = errors.New("no device has these credentials")

func unknown() error {
	return fault.Wrap(fault.Unauthenticated, "validate credentials", errUnknown)
}

func (c Calls) find(ctx context.Context, id string) (entity.Credentials, error) {
	if id == "" {
		return entity.Credentials{}, unknown()
	}
	found, err := c.Entities.Devices.CredentialsByID(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return found, unknown()
	}
	return found, away("find credentials", err)
}

func (c Calls) token(ctx context.Context, token string) (entity.Credentials, error) {
	found, err := c.find(ctx, token)
	if err == nil && found.Type != entity.AccessToken {
		return found, unknown()
	}
	return found, err
}

// basic decides as device-api §1.2 does, in its steps A to C.
func (c Calls) basic(ctx context.Context, q *sluicepb.ValidateBasic) (entity.Credentials, error) {
	if q.GetUsername() == "" {
		if q.GetClientId() == "" {
			return entity.Credentials{}, unknown()
		}
		found, err := c.find(ctx, entity.ClientUserID(q.GetClientId(), ""))
		return found, refused(err, found, q)
	}
	found, err := c.find(ctx, entity.ClientUserID(q.GetClientId(), q.GetUsername()))
	switch {
	case err == nil && found.Type == entity.MQTTBasic:
		who, password := matches(found, q)
		if who && !password {
			return found, unknown()
		}
		if who {
			return found, nil
		}
	case err != nil && !errors.Is(err, errUnknown):
		return found, err
	}
	if found, err = c.find(ctx, q.GetUsername()); err != nil || found.Type == entity.AccessToken {
		return found, err
	}
	return found, refused(nil, found, q)
}

// refused is err, or that found is not what q presents.
func refused(err error, found entity.Credentials, q *sluicepb.ValidateBasic) error {
	if err != nil {
		return err
	}
	if who, password := matches(found, q); found.Type != entity.MQTTBasic || !who || !password {
		return unknown()
	}
	return nil
}

// matches compares what is stored; an empty stored field is not checked.
func matches(found entity.Credentials, q *sluicepb.ValidateBasic) (who, password bool) {
	var stored entity.BasicValue
	if err := json.Unmarshal([]byte(found.CredentialsValue), &stored); err != nil {
		return false, false
	}
	who = (stored.ClientID == "" || stored.ClientID == q.GetClientId()) &&
		(stored.UserName == "" || stored.UserName == q.GetUsername())
	return who, stored.Password == "" || sameSecret(stored.Password, q.GetPassword())
}
