package toemail_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/toemail"
)

func TestMails(t *testing.T) {
	b := rulenodetest.New(t)
	metadata := map[string]string{"userEmail": "u@example.org", "deviceType": "T", "deviceName": "D", "rich": "TRUE"}
	for name, is := range map[string]struct{ config, images, want string }{
		"as it is by default": {"", "", `{"from":"info@testmail.org","to":"u@example.org","subject":"Device T temperature high",` +
			`"body":"Device D has high temperature 30","html":false}`},
		"everything": {
			`{"fromTemplate":"f","toTemplate":"t","ccTemplate":"c","bccTemplate":"b","subjectTemplate":"s","bodyTemplate":"$[temperature]","mailBodyType":"true"}`,
			`{"i":"data:image/png;base64,AA=="}`, `{"from":"f","to":"t","cc":"c","bcc":"b","subject":"s","body":"30","images":{"i":"data:image/png;base64,AA=="},"html":true}`,
		},
		"the message says that it is HTML": {
			`{"fromTemplate":"f","toTemplate":"t","mailBodyType":"dynamic","isHtmlTemplate":"${rich}"}`, "",
			`{"from":"f","to":"t","subject":"","body":"","html":true}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			with := map[string]string{"images": is.images}
			for key, text := range metadata {
				with[key] = text
			}
			out := b.Process(b.Node(toemail.Kind(), is.config), b.Message("T", `{"temperature":30}`, with))
			if e := out.Emitted[0]; e.Relation != rule.Success || e.Type != "SEND_EMAIL" || e.Metadata["rich"] != "TRUE" {
				t.Errorf("outcome %+v", out)
			}
			if diff := cmp.Diff(is.want, out.Emitted[0].Data); diff != "" {
				t.Error(diff)
			}
		})
	}
	out := b.Process(b.Node(toemail.Kind(), ""), b.Message("T", `{}`, map[string]string{"images": "none"}))
	if _, failed := out.Failed(); !failed {
		t.Errorf("images that are none: %+v", out)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	for _, config := range []string{`{}`, `{"fromTemplate":"f"}`, `{"fromTemplate":"f","toTemplate":"t","mailBodyType":"perhaps"}`, `{"fromTemplate":5}`} {
		if _, err := rulenodetest.New(t).New(toemail.Kind(), config); err == nil {
			t.Errorf("%s is taken", config)
		}
	}
}
