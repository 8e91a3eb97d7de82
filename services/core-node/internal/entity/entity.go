// Package entity is the platform's things: tenants, users, customers, devices and their
// profiles and credentials. It is the only writer of storage.Entities; every change is
// announced on tb.events before its caller is answered.
package entity

import (
	"context"
	"encoding/json"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Device is a device as tenants see it.
type Device struct {
	ID             ident.DeviceID
	Tenant         ident.TenantID
	Customer       ident.CustomerID
	Profile        ident.ID
	Name           string
	Type           string // the profile's name
	Label          string
	AdditionalInfo json.RawMessage
	Data           json.RawMessage // the REST API's deviceData
	Firmware       ident.ID
	Software       ident.ID
	External       ident.ID
	CreatedTime    int64 // ms
	Version        int64 // 1 after create, +1 per save
}

// CredentialsType is one of the names the REST API uses.
type CredentialsType string

// The credential types there are.
const (
	AccessToken     CredentialsType = "ACCESS_TOKEN"
	MQTTBasic       CredentialsType = "MQTT_BASIC"
	X509Certificate CredentialsType = "X509_CERTIFICATE"
)

// Credentials are what a device proves itself with; one per device.
type Credentials struct {
	ID               ident.ID
	Device           ident.DeviceID
	Tenant           ident.TenantID
	Type             CredentialsType
	CredentialsID    string // the token, or as device-api §1.2 derives it
	CredentialsValue string // MQTT_BASIC: JSON {clientId,userName,password}; X509_CERTIFICATE: base64 of the DER, in one line
	Version          int64
}

// Profile is a device profile.
type Profile struct {
	ID               ident.ID
	Tenant           ident.TenantID
	Name             string
	TransportType    string // DEFAULT, MQTT or COAP
	DefaultRuleChain ident.ID
	DefaultQueue     string
	IsDefault        bool
	Body             json.RawMessage // the other fields the REST API shows, such as profileData, as one object
	CreatedTime      int64
	Version          int64
}

// RuleChain is a stored rule chain: its exported JSON with connections by index.
type RuleChain struct {
	ID     ident.ID
	Tenant ident.TenantID
	Name   string
	Type   string // CORE or EDGE; "" is CORE
	// Root: it takes on the messages of devices whose profile names no chain. SetRoot moves it.
	Root        bool
	External    ident.ID
	Metadata    json.RawMessage // {"ruleChain":{…},"metadata":{firstNodeIndex,nodes,connections,…}}
	CreatedTime int64
	Version     int64
}

// Devices is what the message path asks of devices. Not found is storage.ErrNotFound.
type Devices interface {
	Device(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) (Device, error)
	// CredentialsByID finds credentials by their CredentialsID, over all tenants.
	CredentialsByID(ctx context.Context, credentialsID string) (Credentials, error)
	Profile(ctx context.Context, tenant ident.TenantID, id ident.ID) (Profile, error)
	// EachDevice calls f for every device of every tenant, until f fails.
	EachDevice(ctx context.Context, f func(Device) error) error
}

// RuleChains is what the rule engine asks of chains.
type RuleChains interface {
	// RootChain returns the tenant's root chain.
	RootChain(ctx context.Context, tenant ident.TenantID) (RuleChain, error)
	Chain(ctx context.Context, tenant ident.TenantID, id ident.ID) (RuleChain, error)
}
