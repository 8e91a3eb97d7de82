package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// componentRoutes are those of rest-api §2.11 about the catalogue of rule nodes.
func (a *api) componentRoutes() []route {
	return []route{
		{"GET", "/api/components", admins(), a.componentsOfTypes},
		{"GET", "/api/components/{componentType}", admins(), a.componentsOfType},
		{"GET", "/api/component/{componentClass}", admins(), a.component},
	}
}

// componentBody is ComponentDescriptor (rest-api §2.11).
type componentBody struct {
	ID struct {
		ID string `json:"id"`
	} `json:"id"`
	CreatedTime             int64         `json:"createdTime"`
	Type                    rule.Category `json:"type"`
	Scope                   string        `json:"scope"`
	ClusteringMode          string        `json:"clusteringMode"`
	Name                    string        `json:"name"`
	Clazz                   string        `json:"clazz"`
	ConfigurationDescriptor struct {
		NodeDefinition definitionBody `json:"nodeDefinition"`
	} `json:"configurationDescriptor"`
	ConfigurationVersion int     `json:"configurationVersion"`
	Actions              *string `json:"actions"`
	HasQueueName         bool    `json:"hasQueueName"`
}

// definitionBody is what an editor of chains needs to know of a class of nodes. Without a directive it edits the configuration as JSON.
type definitionBody struct {
	Details              string          `json:"details"`
	Description          string          `json:"description"`
	InEnabled            bool            `json:"inEnabled"`
	OutEnabled           bool            `json:"outEnabled"`
	RelationTypes        []rule.Relation `json:"relationTypes"`
	CustomRelations      bool            `json:"customRelations"`
	RuleChainNode        bool            `json:"ruleChainNode"`
	DefaultConfiguration json.RawMessage `json:"defaultConfiguration"`
	ConfigurationSchema  json.RawMessage `json:"configurationSchema"`
	UIResources          []string        `json:"uiResources"`
	ConfigDirective      string          `json:"configDirective"`
	Icon                 string          `json:"icon"`
	IconURL              string          `json:"iconUrl"`
	DocURL               string          `json:"docUrl"`
}

// Classes that differ from others in an editor.
const (
	generatorClass = "org.thingsboard.rule.engine.debug.TbMsgGeneratorNode" // no link leads to it
	enterClass     = "org.thingsboard.rule.engine.flow.TbRuleChainInputNode"
	edgeClasses    = "org.thingsboard.rule.engine.edge."
)

func componentView(k rule.Kind) componentBody {
	c := componentBody{
		Type: k.Category, Scope: "TENANT", ClusteringMode: "ENABLED", Name: k.Name, Clazz: k.Class,
		ConfigurationVersion: k.Version, HasQueueName: k.HasQueue,
	}
	c.ID.ID = ident.Derive(ident.ID{}, k.Class).String()
	summary, _, _ := strings.Cut(k.Doc, ".")
	c.ConfigurationDescriptor.NodeDefinition = definitionBody{
		Description: strings.ReplaceAll(summary, "\n", " "), Details: strings.TrimSpace(k.Doc),
		InEnabled: k.Class != generatorClass, OutEnabled: len(k.Relations) > 0 || k.CustomRelations,
		RelationTypes: relationsOf(k), CustomRelations: k.CustomRelations, RuleChainNode: k.Class == enterClass,
		DefaultConfiguration: objectView(k.Default), ConfigurationSchema: objectView(k.Schema), UIResources: []string{},
	}
	return c
}

// relationsOf are the relations an editor offers: Failure is every node's that has any way out.
func relationsOf(k rule.Kind) []rule.Relation {
	relations := slices.Clone(k.Relations)
	if relations == nil {
		relations = []rule.Relation{}
	}
	if (len(k.Relations) > 0 || k.CustomRelations) && !slices.Contains(relations, rule.Failure) {
		relations = append(relations, rule.Failure)
	}
	return relations
}

// components shows the nodes that can run of some categories, in order of name.
func (a *api) components(r *http.Request, categories []rule.Category) (any, error) {
	edge := false
	switch kind := r.URL.Query().Get("ruleChainType"); kind {
	case "", entity.CoreChain:
	case "EDGE":
		edge = true
	default:
		return nil, invalid("ruleChainType", fmt.Sprintf("%q is neither CORE nor EDGE", kind))
	}
	views := []componentBody{}
	for _, k := range a.Kinds {
		if k.New != nil && slices.Contains(categories, k.Category) && (edge || !strings.HasPrefix(k.Class, edgeClasses)) {
			views = append(views, componentView(k))
		}
	}
	slices.SortFunc(views, func(a, b componentBody) int { return cmp.Compare(a.Name, b.Name) })
	return views, nil
}

func category(field, name string) (rule.Category, error) {
	switch c := rule.Category(name); c {
	case rule.Filter, rule.Enrichment, rule.Transformation, rule.Action, rule.External, rule.Flow:
		return c, nil
	}
	return "", invalid(field, fmt.Sprintf("%q is unknown", name))
}

func (a *api) componentsOfType(r *http.Request, _ auth.Principal) (any, error) {
	c, err := category("componentType", chi.URLParam(r, "componentType"))
	if err != nil {
		return nil, err
	}
	return a.components(r, []rule.Category{c})
}

func (a *api) componentsOfTypes(r *http.Request, _ auth.Principal) (any, error) {
	var categories []rule.Category
	for name := range strings.SplitSeq(r.URL.Query().Get("componentTypes"), ",") {
		c, err := category("componentTypes", name)
		if err != nil {
			return nil, err
		}
		categories = append(categories, c)
	}
	return a.components(r, categories)
}

func (a *api) component(r *http.Request, _ auth.Principal) (any, error) {
	class := chi.URLParam(r, "componentClass")
	for _, k := range a.Kinds {
		if k.Class == class && k.New != nil {
			return componentView(k), nil
		}
	}
	return nil, fault.New(fault.NotFound, "Requested item wasn't found!")
}
