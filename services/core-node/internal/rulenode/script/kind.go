package script

import "encoding/json"

// Default is the configuration of a node whose script is body unless it is given another. It is the same in both languages;
// JS counts, because TBEL is not run here.
func Default(body string) json.RawMessage {
	text, _ := json.Marshal(struct {
		Language string `json:"scriptLang"`
		JS       string `json:"jsScript"`
		TBEL     string `json:"tbelScript"`
	}{JS, body, body}) // texts always encode
	return text
}

// Schema is the schema of a configuration with the standard fields; returns says what the script returns.
func Schema(returns string) json.RawMessage {
	type property map[string]any
	text, _ := json.Marshal(map[string]any{ // plain values always encode
		"type": "object",
		"properties": map[string]property{
			"scriptLang": {"enum": []any{JS, TBEL, nil}, "description": "Which of the scripts counts; JS when absent. TBEL is not run here."},
			"jsScript":   {"type": "string", "description": "Body of a function in JavaScript. Returns " + returns + "."},
			"tbelScript": {"type": "string", "description": "The same in TBEL."},
		},
	})
	return text
}
