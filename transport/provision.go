package transport

import (
	"context"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/transport/payload"
)

// What a request for credentials must not lack, and what it is answered.
var (
	errProvision = fault.New(fault.Invalid, `a request for credentials needs "provisionDeviceKey" and "provisionDeviceSecret"`)
	errGatewayIs = fault.New(fault.Invalid, `"gateway" must be true or false`)
)

const provisioned = "SUCCESS"

// Provision implements Provisioner.
func (t *Transport) Provision(ctx context.Context, request []byte, mayBeProtobuf bool, from netip.Addr) (answer []byte, granted bool, err error) {
	question, err := t.readProvision(request)
	inProtobuf := false
	if err != nil && mayBeProtobuf && !isJSON(request) {
		question, inProtobuf = readProvisionMessage(request)
		if inProtobuf {
			err = nil
		}
	}
	if err == nil && (question.ProvisionKey == "" || question.ProvisionSecret == "") {
		err = errProvision
	}
	if err != nil {
		return nil, false, t.refused("provision", err)
	}
	if !t.strangers.mayAsk(from) {
		return nil, false, ErrTooManyWrong
	}
	reply, err := t.call(ctx, "provision", []byte(question.ProvisionKey+question.DeviceName), &sluicepb.TransportRequest{
		Body: &sluicepb.TransportRequest_ProvisionDevice{ProvisionDevice: question},
	})
	if err != nil {
		return nil, false, err
	}
	p := reply.GetProvisioned()
	if p == nil {
		return nil, false, fault.New(fault.Internal, "a core node answered a request for credentials with something else")
	}
	if granted = p.GetStatus() == provisioned; p.GetStatus() == "NOT_FOUND" {
		t.strangers.failed(from)
	}
	if inProtobuf {
		answer, err = provisionMessage(p)
		return answer, granted, err
	}
	return appendProvisioned(nil, p), granted, nil
}

// isJSON says whether a request that was refused was meant as JSON.
func isJSON(request []byte) bool {
	for _, c := range request {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == '{'
		}
	}
	return false
}

// readProvision reads the JSON form (device-api §1.11).
func (t *Transport) readProvision(request []byte) (*sluicepb.ProvisionDevice, error) {
	p := &sluicepb.ProvisionDevice{}
	texts := map[string]*string{
		"provisionDeviceKey": &p.ProvisionKey, "provisionDeviceSecret": &p.ProvisionSecret, "deviceName": &p.DeviceName,
		"credentialsType": &p.CredentialsType, "token": &p.Token, "clientId": &p.ClientId, "username": &p.Username,
		"password": &p.Password, "hash": &p.Certificate,
	}
	f := t.drafts.Get().(*draft)
	defer t.drafts.Put(f)
	err := f.decoder.Object(request, func(name string, m payload.Member) error {
		switch into := texts[name]; {
		case into != nil && !m.IsText:
			return fault.New(fault.Invalid, `"`+name+`" must be a text`)
		case into != nil:
			*into = m.Text
			p.HasDeviceName = p.HasDeviceName || name == "deviceName"
		case name == "gateway" && m.JSON != "true" && m.JSON != "false":
			return errGatewayIs
		case name == "gateway":
			p.Gateway = m.JSON == "true"
		}
		return nil
	})
	return p, err
}

// readProvisionMessage reads the protobuf form.
func readProvisionMessage(request []byte) (*sluicepb.ProvisionDevice, bool) {
	var r devicepb.ProvisionRequest
	if err := proto.Unmarshal(request, &r); err != nil {
		return nil, false
	}
	c := r.GetCredentials()
	return &sluicepb.ProvisionDevice{
		ProvisionKey: r.GetKeys().GetProvisionDeviceKey(), ProvisionSecret: r.GetKeys().GetProvisionDeviceSecret(),
		DeviceName: r.GetDeviceName(), HasDeviceName: r.GetDeviceName() != "", CredentialsType: r.GetCredentialsType().String(),
		Token: c.GetToken().GetToken(), Certificate: c.GetCertificate().GetHash(),
		ClientId: c.GetBasic().GetClientId(), Username: c.GetBasic().GetUserName(), Password: c.GetBasic().GetPassword(),
		Gateway: r.GetGateway(),
	}, true
}

// appendProvisioned appends the JSON answer: MQTT_BASIC credentials are an object, all others a text.
func appendProvisioned(dst []byte, p *sluicepb.Provisioned) []byte {
	dst = append(dst, '{')
	if p.GetStatus() != provisioned {
		dst = append(payload.AppendText(append(dst, `"errorMsg":`...), p.GetError()), ',')
	} else {
		dst = append(dst, `"credentialsValue":`...)
		if p.GetCredentialsType() == "MQTT_BASIC" {
			dst = append(dst, p.GetCredentialsValue()...)
		} else {
			dst = payload.AppendText(dst, p.GetCredentialsValue())
		}
		dst = append(payload.AppendText(append(dst, `,"credentialsType":`...), p.GetCredentialsType()), ',')
	}
	return append(payload.AppendText(append(dst, `"status":`...), p.GetStatus()), '}')
}

func provisionMessage(p *sluicepb.Provisioned) ([]byte, error) {
	answer, err := proto.Marshal(&devicepb.ProvisionResponse{
		Status:           devicepb.ProvisionStatus(devicepb.ProvisionStatus_value[p.GetStatus()]),
		CredentialsType:  devicepb.CredentialsType(devicepb.CredentialsType_value[p.GetCredentialsType()]),
		CredentialsValue: p.GetCredentialsValue(),
	})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "encode the answer to a request for credentials", err)
	}
	return answer, nil
}
