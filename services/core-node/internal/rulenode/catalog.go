// Package rulenode is the catalogue of rule nodes: the list of those that are built, each in a
// folder of its own, and of those that are known by name only.
package rulenode

import (
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/acknowledge"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/assetprofileswitch"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/assigntocustomer"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/calculate"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/calculatedelta"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/chaininput"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/chainoutput"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/changeoriginator"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/checkalarmstatus"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/checkfields"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/checkpoint"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/checkrelation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/clearalarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/copykeys"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/createalarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/createrelation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/deduplication"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/delay"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/deleteattributes"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/deletekeys"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/deleterelation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/deviceprofile"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/deviceprofileswitch"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/entitytypefilter"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/entitytypeswitch"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/fetchdevicecredentials"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/generator"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/geofencingaction"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/geofencingfilter"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/getattributes"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/getcustomerattribute"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/getcustomerdetails"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/getdeviceattributes"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/getoriginatorfields"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/getrelatedattribute"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/gettelemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/gettenantattribute"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/gettenantdetails"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/jsonpath"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/kafka"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/log"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/messagecount"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/messagetypefilter"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/messagetypeswitch"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/mqtt"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/renamekeys"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/restcall"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rpcreply"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rpcrequest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/saveattributes"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/savetimeseries"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/scriptfilter"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/scriptswitch"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/scripttransform"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/sendemail"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/splitarray"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/synchronizationbegin"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/synchronizationend"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/toemail"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/unassignfromcustomer"
)

// Built returns the nodes that can run.
func Built() []rule.Kind {
	kinds := make([]rule.Kind, 0, len(built))
	for _, kind := range built {
		kinds = append(kinds, kind())
	}
	return kinds
}

var built = [...]func() rule.Kind{
	acknowledge.Kind,
	assetprofileswitch.Kind,
	assigntocustomer.Kind,
	calculate.Kind,
	calculatedelta.Kind,
	chaininput.Kind,
	chainoutput.Kind,
	changeoriginator.Kind,
	checkalarmstatus.Kind,
	checkfields.Kind,
	checkpoint.Kind,
	checkrelation.Kind,
	clearalarm.Kind,
	copykeys.Kind,
	createalarm.Kind,
	createrelation.Kind,
	deduplication.Kind,
	delay.Kind,
	deleteattributes.Kind,
	deletekeys.Kind,
	deleterelation.Kind,
	deviceprofile.Kind,
	deviceprofileswitch.Kind,
	entitytypefilter.Kind,
	entitytypeswitch.Kind,
	fetchdevicecredentials.Kind,
	generator.Kind,
	geofencingaction.Kind,
	geofencingfilter.Kind,
	getattributes.Kind,
	getcustomerattribute.Kind,
	getcustomerdetails.Kind,
	getdeviceattributes.Kind,
	getoriginatorfields.Kind,
	getrelatedattribute.Kind,
	gettelemetry.Kind,
	gettenantattribute.Kind,
	gettenantdetails.Kind,
	jsonpath.Kind,
	kafka.Kind,
	log.Kind,
	messagecount.Kind,
	messagetypefilter.Kind,
	messagetypeswitch.Kind,
	mqtt.Kind,
	renamekeys.Kind,
	restcall.Kind,
	rpcreply.Kind,
	rpcrequest.Kind,
	saveattributes.Kind,
	savetimeseries.Kind,
	scriptfilter.Kind,
	scriptswitch.Kind,
	scripttransform.Kind,
	sendemail.Kind,
	splitarray.Kind,
	synchronizationbegin.Kind,
	synchronizationend.Kind,
	toemail.Kind,
	unassignfromcustomer.Kind,
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
	"action.TbCopyAttributesToEntityViewNode",
	"action.TbDeviceStateNode",
	"action.TbSaveToCustomCassandraTableNode",
	"ai.TbAiNode",
	"aws.lambda.TbAwsLambdaNode",
	"aws.sns.TbSnsNode",
	"aws.sqs.TbSqsNode",
	"edge.TbMsgPushToCloudNode",
	"edge.TbMsgPushToEdgeNode",
	"gcp.pubsub.TbPubSubNode",
	"mqtt.azure.TbAzureIotHubNode",
	"notification.TbNotificationNode",
	"notification.TbSlackNode",
	"rabbitmq.TbRabbitMqNode",
	"rest.TbSendRestApiCallReplyNode",
	"sms.TbSendSmsNode",
	"telemetry.TbCalculatedFieldsNode",
}
