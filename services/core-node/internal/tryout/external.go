package tryout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

// kinds returns the catalogue with external nodes that only tell what they would send.
func (r *run) kinds(catalogue []rule.Kind, outcomes map[string]Outcome) []rule.Kind {
	kinds := make([]rule.Kind, len(catalogue))
	for i, k := range catalogue {
		if k.Category == rule.External && k.New != nil {
			real := k.New
			k.Waits = rule.ForNothing
			k.New = func(raw json.RawMessage, s rule.Services) (rule.Node, error) {
				if _, err := real(raw, s); err != nil {
					return nil, err
				}
				var config map[string]any
				if err := json.Unmarshal(raw, &config); err != nil {
					return nil, err
				}
				return &external{r, s.Name, k.Name, config, outcomes[s.Name]}, nil
			}
		}
		kinds[i] = k
	}
	return kinds
}

// external stands in for a node that would reach outside.
type external struct {
	run     *run
	name    string
	kind    string
	config  map[string]any
	outcome Outcome
}

// addressed are the fields of configurations that say where to, in the order they are told.
var addressed = [...]string{
	"requestMethod", "restEndpointUrlPattern", "bootstrapServers", "host", "port", "smtpHost", "topicPattern", "keyPattern", "exchangeNamePattern",
	"routingKeyPattern", "queueUrlPattern", "topicArnPattern", "topicName", "functionName", "numbersToTemplate",
}

// Process implements rule.Node.
func (e *external) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	var to []string
	for _, field := range addressed {
		if field == "smtpHost" && e.config["useSystemSmtpSettings"] == true {
			continue // it does not count then
		}
		switch value := e.config[field].(type) {
		case string:
			if value != "" {
				to = append(to, pattern.Compile(value).Of(in))
			}
		case float64:
			to = append(to, fmt.Sprint(value))
		}
	}
	body := in.Body.Text()
	if template, _ := e.config["requestBodyTemplate"].(string); template != "" {
		body = pattern.Compile(template).Of(in)
	}
	e.run.tell(Sent{Node: e.name, To: cmp.Or(strings.Join(to, " "), e.kind), Body: asJSON(body)})
	out := *in
	out.Metadata = in.Metadata.WithAll(e.outcome.Metadata)
	if len(e.outcome.Body) > 0 {
		out.Body = rule.TextBody(string(e.outcome.Body))
	}
	relation := rule.Relation(cmp.Or(e.outcome.Relation, string(rule.Success)))
	if strings.EqualFold(string(relation), string(rule.Failure)) {
		err := errors.New("the try has it fail")
		out.Metadata = out.Metadata.With("error", err.Error())
		turn.Fail(&out, err)
		return nil
	}
	turn.Emit(relation, &out)
	return nil
}

func (r *run) tell(s Sent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, s)
}
