package fetchdevicecredentials

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestWhatIsFetched(t *testing.T) {
	b := rulenodetest.New(t)
	entities := b.Platform()
	token, err := entities.Devices.Credentials(t.Context(), b.Services.Tenant, b.Device)
	if err != nil {
		t.Fatal(err)
	}
	check := func(config, data string, metadata map[string]string) {
		t.Helper()
		want := []rulenodetest.Emitted{{Relation: rule.Success, Type: "X", Data: data, Metadata: metadata, Originator: b.Device.Entity()}}
		if diff := cmp.Diff(want, b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Emitted); diff != "" {
			t.Error(diff)
		}
	}
	check("", `{}`, map[string]string{"credentialsType": "ACCESS_TOKEN", "credentials": token.CredentialsID})
	check(`{"fetchTo":"DATA"}`, `{"credentialsType":"ACCESS_TOKEN","credentials":"`+token.CredentialsID+`"}`, map[string]string{})
	token.Type, token.CredentialsID, token.CredentialsValue = entity.MQTTBasic, "", `{"clientId":"c","userName":"u","password":"p"}`
	if _, err := entities.Devices.UpdateCredentials(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	check(`{"fetchTo":"DATA"}`, `{"credentialsType":"MQTT_BASIC","credentials":`+token.CredentialsValue+`}`, map[string]string{})
	check("", `{}`, map[string]string{"credentialsType": "MQTT_BASIC", "credentials": token.CredentialsValue})
}

func TestOnlyDevicesHaveCredentials(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	in := b.Message("X", `{}`, nil)
	in.Originator = b.Services.Tenant.Entity()
	if why, failed := b.Process(b.Node(Kind(), ""), in).Failed(); !failed || !strings.Contains(why, "TENANT") {
		t.Errorf("%q, %v", why, failed)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{}`: "fetchTo",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"fetchToMetadata":true}`, `{"fetchTo":"METADATA"}`},
		{0, `{"fetchToMetadata":false}`, `{"fetchTo":"DATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
