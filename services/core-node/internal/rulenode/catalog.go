// Package rulenode is the catalogue of rule nodes: the list of those that are built, each in a
// folder of its own, and of those that are known by name only.
package rulenode

import (
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/log"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/messagetypeswitch"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/saveattributes"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/savetimeseries"
)

// Built returns the nodes that can run.
func Built() []rule.Kind {
	return []rule.Kind{
		log.Kind(),
		messagetypeswitch.Kind(),
		saveattributes.Kind(),
		savetimeseries.Kind(),
	}
}

// Catalogue returns every node known, built or not. Those that are not have no New.
func Catalogue() []rule.Kind {
	kinds := Built()
	for _, class := range unbuilt {
		kinds = append(kinds, rule.Kind{Class: classes + class, Name: class})
	}
	return kinds
}

// classes is the package every class of an exported chain is in.
const classes = "org.thingsboard.rule.engine."

// unbuilt are the classes exported chains may name that do not run yet.
var unbuilt = [...]string{
	"action.TbAssignToCustomerNode",
	"action.TbClearAlarmNode",
	"action.TbCopyAttributesToEntityViewNode",
	"action.TbCreateAlarmNode",
	"action.TbCreateRelationNode",
	"action.TbDeleteRelationNode",
	"action.TbDeviceStateNode",
	"action.TbMsgCountNode",
	"action.TbSaveToCustomCassandraTableNode",
	"action.TbUnassignFromCustomerNode",
	"ai.TbAiNode",
	"aws.lambda.TbAwsLambdaNode",
	"aws.sns.TbSnsNode",
	"aws.sqs.TbSqsNode",
	"debug.TbMsgGeneratorNode",
	"deduplication.TbMsgDeduplicationNode",
	"delay.TbMsgDelayNode",
	"edge.TbMsgPushToCloudNode",
	"edge.TbMsgPushToEdgeNode",
	"filter.TbAssetTypeSwitchNode",
	"filter.TbCheckAlarmStatusNode",
	"filter.TbCheckMessageNode",
	"filter.TbCheckRelationNode",
	"filter.TbDeviceTypeSwitchNode",
	"filter.TbJsFilterNode",
	"filter.TbJsSwitchNode",
	"filter.TbMsgTypeFilterNode",
	"filter.TbOriginatorTypeFilterNode",
	"filter.TbOriginatorTypeSwitchNode",
	"flow.TbAckNode",
	"flow.TbCheckpointNode",
	"flow.TbRuleChainInputNode",
	"flow.TbRuleChainOutputNode",
	"gcp.pubsub.TbPubSubNode",
	"geo.TbGpsGeofencingActionNode",
	"geo.TbGpsGeofencingFilterNode",
	"kafka.TbKafkaNode",
	"mail.TbMsgToEmailNode",
	"mail.TbSendEmailNode",
	"math.TbMathNode",
	"metadata.CalculateDeltaNode",
	"metadata.TbFetchDeviceCredentialsNode",
	"metadata.TbGetAttributesNode",
	"metadata.TbGetCustomerAttributeNode",
	"metadata.TbGetCustomerDetailsNode",
	"metadata.TbGetDeviceAttrNode",
	"metadata.TbGetOriginatorFieldsNode",
	"metadata.TbGetRelatedAttributeNode",
	"metadata.TbGetTelemetryNode",
	"metadata.TbGetTenantAttributeNode",
	"metadata.TbGetTenantDetailsNode",
	"mqtt.TbMqttNode",
	"mqtt.azure.TbAzureIotHubNode",
	"notification.TbNotificationNode",
	"notification.TbSlackNode",
	"profile.TbDeviceProfileNode",
	"rabbitmq.TbRabbitMqNode",
	"rest.TbRestApiCallNode",
	"rest.TbSendRestApiCallReplyNode",
	"rpc.TbSendRPCReplyNode",
	"rpc.TbSendRPCRequestNode",
	"sms.TbSendSmsNode",
	"telemetry.TbCalculatedFieldsNode",
	"telemetry.TbMsgDeleteAttributesNode",
	"transaction.TbSynchronizationBeginNode",
	"transaction.TbSynchronizationEndNode",
	"transform.TbChangeOriginatorNode",
	"transform.TbCopyKeysNode",
	"transform.TbDeleteKeysNode",
	"transform.TbJsonPathNode",
	"transform.TbRenameKeysNode",
	"transform.TbSplitArrayMsgNode",
	"transform.TbTransformMsgNode",
}
