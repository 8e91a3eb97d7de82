package transport

import (
	"context"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// SharedKeys finds the keys that devices share with the platform, for protocols that prove who a device is by one (RFC 4279).
type SharedKeys interface {
	// SharedKey returns the key of the device called identity, and the credentials that a device which proved to have it is
	// authenticated with from then on. Errors are Authenticate's.
	SharedKey(ctx context.Context, identity string) (key []byte, c Credentials, err error)
}

var _ SharedKeys = (*Transport)(nil)

// SharedKey implements SharedKeys.
func (t *Transport) SharedKey(ctx context.Context, identity string) (key []byte, c Credentials, err error) {
	if identity == "" || len(identity) > t.config.CredentialsMaxBytes {
		return nil, c, errUnknown
	}
	answer, err := t.call(ctx, "shared_key", []byte(identity), &sluicepb.TransportRequest{
		Body: &sluicepb.TransportRequest_SharedKey{SharedKey: &sluicepb.SharedKey{Identity: identity}},
	})
	if err != nil {
		return nil, c, err
	}
	k := answer.GetKey()
	if len(k.GetKey()) == 0 {
		return nil, c, errUnknown
	}
	return k.GetKey(), Credentials{
		ClientID: k.GetClientId(), Username: k.GetUsername(), HasUsername: true, Password: string(k.GetKey()), HasPassword: true,
	}, nil
}
