package selection

import (
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestNamesOfPointsAreBare(t *testing.T) {
	for want, v := range map[string]telemetry.Value{
		`{ts:7,value:5}`:                           telemetry.OfLong(5),
		`{ts:7,value:2.0}`:                         telemetry.OfDouble(2),
		`{ts:7,value:"a\"b"}`:                      telemetry.OfString(`a"b`),
		`{ts:7,value:true}`:                        telemetry.OfBool(true),
		`{ts:7,value:{a:1,b:[{c:"d"},2,[]],e:{}}}`: telemetry.OfJSON(`{"a":1,"b":[{"c":"d"},2,[]],"e":{}}`),
		`{ts:7,value:[1,{a:null}]}`:                telemetry.OfJSON(`[1,{"a":null}]`),
		`{ts:7,value:{"a":}}`:                      telemetry.OfJSON(`{"a":}`),
	} {
		if got := string(AppendBare(nil, storage.Point{Time: 7, Value: v})); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
