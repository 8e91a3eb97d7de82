package alarming

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

// Script is the script that makes an alarm's details, as configurations have it.
type Script struct {
	Language string `json:"scriptLang"`
	JS       string `json:"alarmDetailsBuildJs"`
	TBEL     string `json:"alarmDetailsBuildTbel"`
}

// DefaultScript keeps the details an alarm has.
const DefaultScript = "var details = {};\nif (metadata.prevAlarmDetails) {\n    details = JSON.parse(metadata.prevAlarmDetails);\n" +
	"    //remove prevAlarmDetails from metadata\n    delete metadata.prevAlarmDetails;\n    //now metadata is the same as it comes IN this rule node\n}\n\n\nreturn details;"

// Schema is the JSON schema of Script's fields, to be put among others.
const Schema = `"scriptLang":{"enum":["JS","TBEL"]},
"alarmDetailsBuildJs":{"type":"string","description":"A function body of msg, metadata and msgType that returns the details; metadata.prevAlarmDetails has those of the active alarm."},
"alarmDetailsBuildTbel":{"type":"string"}`

// Prepare returns the script as a function.
func (s Script) Prepare(services rule.Services) (*script.Function, error) {
	source := script.Source{Language: s.Language, JS: s.JS, TBEL: s.TBEL}
	return source.Prepare(services, script.Fields{JS: "alarmDetailsBuildJs", TBEL: "alarmDetailsBuildTbel"}, script.MessageParameters())
}

// Details asks a script for the details of an alarm that has those of previous, nil for a new one. A script that returns nothing
// makes them null.
func Details(ctx context.Context, f *script.Function, in *rule.Message, previous json.RawMessage) (json.RawMessage, error) {
	asked := *in
	if len(previous) > 0 {
		asked.Metadata = in.Metadata.With(PreviousDetails, string(previous))
	}
	result, err := f.Call(ctx, &asked)
	if err != nil {
		return nil, err
	}
	if result == "" {
		result = "null"
	}
	if !json.Valid([]byte(result)) {
		return nil, fmt.Errorf("the details are no JSON: %.64q", result)
	}
	return json.RawMessage(result), nil
}
