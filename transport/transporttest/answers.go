package transporttest

import (
	"bytes"
	"encoding/json"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// AddChild adds a device without credentials to g's tenant, to be found behind gateways.
func (c *Core) AddChild(g *Device, name string) *Device {
	d := &Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: g.Tenant, Name: name, Type: "default", TransportType: "DEFAULT", Behind: g.ID,
	}
	c.Add(d)
	return d
}

// Child returns the device of that name in g's tenant, nil when there is none.
func (c *Core) Child(g *Device, name string) *Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index()
	return c.byName[deviceName{g.Tenant, name}]
}

// AddProfile adds a profile that makes credentials.
func (c *Core) AddProfile(p *Profile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Tenant.IsZero() {
		p.Tenant.ID = ident.New()
	}
	p.done = map[string]bool{}
	c.profiles = append(c.profiles, p)
}

// AddPackage adds a package of that data.
func (c *Core) AddPackage(title, version string, data []byte) *Package {
	p := &Package{ID: ident.New(), Title: title, Version: version, FileName: title + ".bin", ContentType: "application/octet-stream", Data: data}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packages = append(c.packages, p)
	return p
}

var errStranger = fault.New(fault.Unauthenticated, "credentials are not known")

// answerTransport answers a TransportRequest. Only under the lock.
func (c *Core) answerTransport(request []byte) ([]byte, error) {
	var question sluicepb.TransportRequest
	if err := proto.Unmarshal(request, &question); err != nil {
		return nil, err
	}
	answer, err := &sluicepb.TransportAnswer{}, c.fault
	if err == nil {
		err = c.answerInto(answer, &question)
	}
	answer.Fault = fault.ToProto(err)
	return proto.Marshal(answer)
}

func (c *Core) answerInto(answer *sluicepb.TransportAnswer, question *sluicepb.TransportRequest) (err error) {
	var d *Device
	switch q := question.GetBody().(type) {
	case *sluicepb.TransportRequest_GatewayDevice:
		d, err = c.child(q.GatewayDevice)
	case *sluicepb.TransportRequest_ProvisionDevice:
		answer.Provisioned = c.provision(q.ProvisionDevice)
		return nil
	case *sluicepb.TransportRequest_FindPackage:
		answer.Package, err = c.findPackage(q.FindPackage)
		return err
	case *sluicepb.TransportRequest_ReadPackage:
		answer.Data, err = c.readPackage(q.ReadPackage)
		return err
	case *sluicepb.TransportRequest_SharedKey:
		d, answer.Key, err = c.sharedKey(q.SharedKey.GetIdentity())
	default:
		d, err = c.find(question)
	}
	if err == nil {
		answer.Device = d.info()
	}
	return err
}

// sharedKey finds a Basic device by its user name, or by its client id and user name.
func (c *Core) sharedKey(identity string) (*Device, *sluicepb.DeviceKey, error) {
	for _, d := range c.devices {
		b := d.Basic
		if b != nil && b.Password != "" && (identity == b.ClientID+"|"+b.Username || b.ClientID == "" && identity == b.Username) {
			return d, &sluicepb.DeviceKey{Key: []byte(b.Password), ClientId: b.ClientID, Username: b.Username}, nil
		}
	}
	return nil, nil, errStranger
}

func (c *Core) find(question *sluicepb.TransportRequest) (*Device, error) {
	c.index()
	token, basic := question.GetValidateToken().GetToken(), question.GetValidateBasic()
	if basic != nil {
		token = basic.GetUsername()
	}
	for _, d := range c.basic {
		if basic != nil && d.Basic.matches(basic) {
			return d, nil
		}
	}
	if chain := question.GetValidateCertificate().GetChain(); len(chain) > 0 {
		for _, d := range c.devices {
			if bytes.Equal(d.Certificate, chain[0]) {
				return d, nil
			}
		}
		return nil, errStranger
	}
	if d := c.byToken[token]; d != nil {
		return d, nil
	}
	return nil, errStranger
}

// index makes what find and child look in. Only under the lock.
func (c *Core) index() {
	if c.byToken != nil {
		return
	}
	c.byToken, c.byName, c.basic = make(map[string]*Device, len(c.devices)), make(map[deviceName]*Device, len(c.devices)), nil
	for _, d := range c.devices {
		c.byName[deviceName{d.Tenant, d.Name}] = d
		if d.Basic != nil {
			c.basic = append(c.basic, d)
		} else if _, taken := c.byToken[d.Token]; d.Token != "" && !taken {
			c.byToken[d.Token] = d
		}
	}
}

// child finds the device of a gateway's tenant, or makes it.
func (c *Core) child(q *sluicepb.GatewayDevice) (*Device, error) {
	c.index()
	var gateway *Device
	devices := 0
	for _, d := range c.devices {
		if bytes.Equal(d.ID.ID[:], q.GetGatewayId()) {
			gateway = d
		}
		if bytes.Equal(d.Tenant.ID[:], q.GetTenantId()) {
			devices++
		}
	}
	if gateway == nil {
		return nil, errStranger
	}
	if d := c.byName[deviceName{gateway.Tenant, q.GetDeviceName()}]; d != nil {
		d.Behind = gateway.ID
		return d, nil
	}
	if gateway.MaxDevices > 0 && devices >= gateway.MaxDevices {
		return nil, fault.New(fault.Limited, "the tenant has as many devices as it may have")
	}
	d := &Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: gateway.Tenant, Name: q.GetDeviceName(), Type: q.GetDeviceType(),
		TransportType: "DEFAULT", Behind: gateway.ID,
	}
	if d.Type == "" {
		d.Type = "default"
	}
	c.devices = append(c.devices, d)
	c.byName[deviceName{d.Tenant, d.Name}] = d
	return d, nil
}

// provision answers as a core node does (device-api §1.11).
func (c *Core) provision(q *sluicepb.ProvisionDevice) *sluicepb.Provisioned {
	i := slices.IndexFunc(c.profiles, func(p *Profile) bool { return p.Key == q.GetProvisionKey() && p.Secret == q.GetProvisionSecret() })
	if i < 0 {
		return &sluicepb.Provisioned{Status: "NOT_FOUND", Error: "Provision data was not found!"}
	}
	p := c.profiles[i]
	name := q.GetDeviceName()
	if !q.GetHasDeviceName() && p.Existing == nil {
		name = ident.New().String()
	}
	if name == "" || p.done[name] || p.Existing != nil && !slices.Contains(p.Existing, name) {
		return &sluicepb.Provisioned{Status: "FAILURE", Error: "Failed to provision device!"}
	}
	p.done[name] = true
	d := &Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: p.Tenant, Name: name, Type: "default", TransportType: "DEFAULT", Gateway: q.GetGateway(),
	}
	kind, value := q.GetCredentialsType(), q.GetCertificate()
	switch kind {
	case "MQTT_BASIC":
		d.Basic = &Basic{ClientID: q.GetClientId(), Username: q.GetUsername(), Password: q.GetPassword()}
		object, _ := json.Marshal(map[string]string{"clientId": q.GetClientId(), "userName": q.GetUsername(), "password": q.GetPassword()})
		value = string(object)
	case "X509_CERTIFICATE":
	default:
		if d.Token = q.GetToken(); d.Token == "" {
			d.Token = ident.New().String()
		}
		kind, value = "ACCESS_TOKEN", d.Token
	}
	c.devices, c.byToken = append(c.devices, d), nil
	return &sluicepb.Provisioned{Status: "SUCCESS", CredentialsType: kind, CredentialsValue: value}
}

func (c *Core) findPackage(q *sluicepb.FindPackage) (*sluicepb.PackageInfo, error) {
	for _, d := range c.devices {
		if !bytes.Equal(d.ID.ID[:], q.GetDeviceId()) {
			continue
		}
		p := d.Firmware
		if q.GetType() == sluicepb.PackageType_SOFTWARE {
			p = d.Software
		}
		if p == nil {
			break
		}
		return &sluicepb.PackageInfo{
			PackageId: p.ID[:], Title: p.Title, Version: p.Version, Size: int64(len(p.Data)), FileName: p.FileName,
			ContentType: p.ContentType, Url: p.URL,
		}, nil
	}
	return nil, fault.New(fault.NotFound, "no package is assigned")
}

func (c *Core) readPackage(q *sluicepb.ReadPackage) ([]byte, error) {
	for _, p := range c.packages {
		if bytes.Equal(p.ID[:], q.GetPackageId()) {
			from := min(q.GetOffset(), int64(len(p.Data)))
			return p.Data[from:min(from+int64(q.GetLength()), int64(len(p.Data)))], nil
		}
	}
	return nil, fault.New(fault.NotFound, "no such package")
}
