package messagetypeswitch

import (
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

func TestTypesTakeTheirRelation(t *testing.T) {
	node, err := Kind().New(Kind().Default, rule.Services{})
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]rule.Relation{
		"POST_TELEMETRY_REQUEST":         "Post telemetry",
		"POST_ATTRIBUTES_REQUEST":        "Post attributes",
		"INACTIVITY_EVENT":               "Inactivity Event",
		"RPC_CALL_FROM_SERVER_TO_DEVICE": "RPC Request to Device",
		"RELATIONS_DELETED":              "All Relations Deleted",
		"MY_TYPE":                        "Other", // A11
		"PROVISION_SUCCESS":              "Other",
	} {
		in, turn := &rule.Message{Type: kind}, &rule.Turn{}
		if err := node.Process(t.Context(), in, turn); err != nil {
			t.Fatal(err)
		}
		out := turn.Emissions()
		if len(out) != 1 || out[0].Relation != want || out[0].Message != in {
			t.Errorf("%s goes along %v, want %s", kind, out, want)
		}
	}
}
