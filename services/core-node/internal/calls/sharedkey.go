package calls

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// sharedKey finds the password of the MQTT_BASIC credentials that identity names. Credentials without a password have no key.
func (c Calls) sharedKey(ctx context.Context, identity string) (*sluicepb.TransportAnswer, error) {
	for _, id := range []string{identity, both(identity)} {
		found, err := c.find(ctx, id)
		if errors.Is(err, errUnknown) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var stored entity.BasicValue
		if found.Type != entity.MQTTBasic || json.Unmarshal([]byte(found.CredentialsValue), &stored) != nil || stored.Password == "" {
			continue
		}
		if name := stored.ClientID + "|" + stored.UserName; name != identity && (stored.ClientID != "" || stored.UserName != identity) {
			continue
		}
		device, err := c.known(ctx, found)
		if err != nil {
			return nil, err
		}
		return &sluicepb.TransportAnswer{Device: device, Key: &sluicepb.DeviceKey{
			Key: []byte(stored.Password), ClientId: stored.ClientID, Username: stored.UserName,
		}}, nil
	}
	return nil, unknown()
}

// both is the credentials' id of an identity that is a client id and a user name.
func both(identity string) string {
	client, user, ok := strings.Cut(identity, "|")
	if !ok || client == "" || user == "" {
		return ""
	}
	return entity.ClientUserID(client, user)
}
