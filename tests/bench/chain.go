package main

import (
	"context"
	"errors"
)

// graph is a rule chain's nodes and links as the API has them.
type graph = map[string]any

var errChain = errors.New("the root chain has no message type switch, or saves no time series")

// useScripts has readings pass a filter and a transformation before they are stored.
func (d *doors) useScripts(ctx context.Context) error {
	var chains struct {
		Data []struct {
			ID   struct{ ID string }
			Root bool
		}
	}
	if err := d.call(ctx, "/api/ruleChains?pageSize=100&page=0", nil, &chains); err != nil {
		return err
	}
	for _, c := range chains.Data {
		if !c.Root {
			continue
		}
		var g graph
		if err := d.call(ctx, "/api/ruleChain/"+c.ID.ID+"/metadata", nil, &g); err != nil {
			return err
		}
		if err := putScripts(g); err != nil {
			return err
		}
		return d.call(ctx, "/api/ruleChain/metadata", g, &g)
	}
	return errChain
}

// putScripts puts the two between the switch by message type and the node that stores.
func putScripts(g graph) error {
	nodes, _ := g["nodes"].([]any)
	links, _ := g["connections"].([]any)
	types, save := -1, -1
	for i, n := range nodes {
		node, _ := n.(graph)
		switch node["type"] {
		case "org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode":
			types = i
		case "org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode":
			save = i
		}
	}
	if types < 0 || save < 0 {
		return errChain
	}
	var kept []any
	for _, l := range links {
		if link, _ := l.(graph); link["type"] != "Post telemetry" {
			kept = append(kept, l)
		}
	}
	scripted := func(kind, name, body string) graph {
		return graph{"type": kind, "name": name, "configurationVersion": 0, "configuration": graph{"scriptLang": "JS", "jsScript": body}}
	}
	link := func(from, to int, relation string) any {
		return graph{"fromIndex": from, "toIndex": to, "type": relation}
	}
	filter, transform := len(nodes), len(nodes)+1
	g["nodes"] = append(nodes,
		scripted("org.thingsboard.rule.engine.filter.TbJsFilterNode", "Warm", filterBody),
		scripted("org.thingsboard.rule.engine.transform.TbTransformMsgNode", "Fahrenheit", transformBody))
	g["connections"] = append(kept, link(types, filter, "Post telemetry"), link(filter, transform, "True"), link(transform, save, "Success"))
	return nil
}
