package transport

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// readRPC reads a request to a device.
func readRPC(r *sluicepb.RpcRequest) (RPCRequest, error) {
	id, err := ident.FromBytes(r.GetRpcId())
	if err != nil {
		return RPCRequest{}, fmt.Errorf("read a request to a device: %w", err)
	}
	return RPCRequest{
		ID: r.GetRequestId(), Method: r.GetMethod(), Params: r.GetParams(), Request: id,
		Expires: time.UnixMilli(r.GetExpiresAtMs()), OneWay: r.GetOneWay(), Persistent: r.GetPersistent(),
		Acknowledge: time.Duration(r.GetAcknowledgeWithinMs()) * time.Millisecond, Again: r.GetAgain(),
	}, nil
}

// ReplyRPC implements RPCs. What is not UTF-8 in payload becomes the replacement character: replies are text.
func (t *Transport) ReplyRPC(d *Device, id int32, from Origin, payload []byte, done func(error)) error {
	payload, err := t.readReply(d, from.Format, payload)
	if err != nil {
		return t.refused("rpc_reply", err)
	}
	message := coreMessage(d)
	message.Body = &sluicepb.CoreMessage_RpcReply{RpcReply: &sluicepb.RpcReply{
		RequestId: id, Payload: strings.ToValidUTF8(string(payload), "\ufffd"),
	}}
	return t.tell(d, "rpc_reply", message, done)
}

// ReportRPC implements RPCs.
func (t *Transport) ReportRPC(d *Device, session ident.ID, r RPCRequest, stage sluicepb.RpcStage) {
	// Only a persistent one has the state of being sent, a one-way one is over with that, and each report is a message on the bus.
	if !r.Persistent && (stage == sluicepb.RpcStage_RPC_SENT || stage == sluicepb.RpcStage_RPC_DELIVERED && r.OneWay) {
		return
	}
	message := coreMessage(d)
	message.Body = &sluicepb.CoreMessage_RpcProgress{RpcProgress: &sluicepb.RpcProgress{
		SessionId: session[:], RequestId: r.ID, RpcId: r.Request[:], Stage: stage,
	}}
	if err := t.report(message, d, "rpc_progress", nil); err != nil {
		t.log.Debug("how far a request got could not be reported", slog.Any("err", err))
	}
}
