package transport

import (
	"context"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// behind says whose device it is that is asked for by name.
type behind struct {
	tenant  ident.TenantID
	gateway ident.DeviceID
}

// callValidate puts the question on the bus, keyed by credential.
func (t *Transport) callValidate(ctx context.Context, c *Credentials, request []byte) (*sluicepb.DeviceInfo, error) {
	answer, err := t.put(ctx, c.kind(), []byte(c.key()), request)
	if err != nil {
		return nil, err
	}
	if f := answer.GetFault(); f != nil {
		return nil, c.fault(f)
	}
	if answer.GetDevice() == nil {
		return nil, errUnknown
	}
	return answer.GetDevice(), nil
}

// call puts a request to a core node. The answer's fault is the error.
func (t *Transport) call(ctx context.Context, kind string, key []byte, r *sluicepb.TransportRequest) (*sluicepb.TransportAnswer, error) {
	request, err := proto.Marshal(r)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "encode the request", err)
	}
	answer, err := t.put(ctx, kind, key, request)
	if err == nil {
		err = fault.FromProto(answer.GetFault())
	}
	return answer, err
}

// put puts an encoded TransportRequest to a core node.
func (t *Transport) put(ctx context.Context, kind string, key, request []byte) (*sluicepb.TransportAnswer, error) {
	reply, err := t.bus.Call(ctx, topics.TransportRequests, key, request, t.config.CallBudget)
	t.metrics.calls.WithLabelValues(kind, result(err)).Inc()
	if err != nil {
		return nil, busFault("ask a core node ("+kind+")", err)
	}
	var answer sluicepb.TransportAnswer
	if err := proto.Unmarshal(reply, &answer); err != nil {
		return nil, fault.Wrap(fault.Internal, "read the answer of a core node ("+kind+")", err)
	}
	return &answer, nil
}

// fault keeps to the kinds Authenticate and Behind promise.
func (c *Credentials) fault(f *sluicepb.Fault) error {
	kind, child := fault.Kind(f.GetKind()), c.isChild()
	switch {
	case child && kind == fault.Limited:
		return ErrTooManyDevices
	case child && kind == fault.Invalid:
		return fault.FromProto(f) // the name, say
	case kind == fault.Unauthenticated, kind == fault.NotFound, kind == fault.Invalid:
		return errUnknown
	case kind == fault.Denied, kind == fault.Limited:
		return fault.FromProto(f)
	default:
		return fault.Wrap(fault.Unavailable, "check credentials", fault.FromProto(f))
	}
}

// isChild reports whether c asks for a device behind a gateway.
func (c *Credentials) isChild() bool { return !c.behind.gateway.IsZero() }

// kind is the metrics' name of the question.
func (c *Credentials) kind() string {
	if c.isChild() {
		return "gateway_device"
	}
	return "validate"
}

// key is what a call about c is keyed by; empty credentials have none and are nobody's.
func (c *Credentials) key() string {
	switch {
	case c.isChild():
		return string(c.behind.tenant.ID[:]) + c.Username
	case c.Certificates != "":
		return certificateHash(c.chain())
	case c.Token != "":
		return c.Token
	case c.HasUsername && c.Username != "":
		return c.Username
	default:
		return c.ClientID
	}
}

// chain takes the certificates apart, nil when they are none.
func (c *Credentials) chain() [][]byte {
	certificates, err := x509.ParseCertificates([]byte(c.Certificates))
	if err != nil {
		return nil
	}
	chain := make([][]byte, len(certificates))
	for i, certificate := range certificates {
		chain[i] = certificate.Raw
	}
	return chain
}

// certificateHash is the leaf's credentials id (device-api §1.2).
func certificateHash(chain [][]byte) string {
	if len(chain) == 0 {
		return ""
	}
	sum := sha3.Sum256([]byte(base64.StdEncoding.EncodeToString(chain[0])))
	return hex.EncodeToString(sum[:])
}

func (c *Credentials) request() *sluicepb.TransportRequest {
	switch {
	case c.isChild():
		return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_GatewayDevice{GatewayDevice: &sluicepb.GatewayDevice{
			TenantId: c.behind.tenant.ID[:], GatewayId: c.behind.gateway.ID[:], DeviceName: c.Username, DeviceType: c.ClientID,
		}}}
	case c.Certificates != "":
		return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateCertificate{
			ValidateCertificate: &sluicepb.ValidateCertificate{Chain: c.chain()},
		}}
	case c.Token != "":
		return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateToken{
			ValidateToken: &sluicepb.ValidateToken{Token: c.Token},
		}}
	}
	return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateBasic{ValidateBasic: &sluicepb.ValidateBasic{
		ClientId: c.ClientID, Username: c.Username, Password: c.Password,
		HasUsername: c.HasUsername, HasPassword: c.HasPassword,
	}}}
}

// remembered is what c's verdict is kept under: of certificates, which are long, a digest.
func (c Credentials) remembered() Credentials {
	c.From = netip.Addr{}
	if c.Certificates == "" {
		return c
	}
	sum := sha256.Sum256([]byte(c.Certificates))
	return Credentials{Certificates: string(sum[:])}
}

// clone copies c's text, which may point into a request's buffer.
func (c *Credentials) clone() Credentials {
	k := *c
	k.Token, k.ClientID = strings.Clone(c.Token), strings.Clone(c.ClientID)
	k.Username, k.Password = strings.Clone(c.Username), strings.Clone(c.Password)
	k.Certificates = strings.Clone(c.Certificates)
	return k
}
