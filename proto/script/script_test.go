package script

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

var tenant = ident.TenantID{ID: ident.ID{1, 2, 3}}

// What is written here is what the contract's own code reads, and the other way round.
func TestCallsAreTheContracts(t *testing.T) {
	calls := []Call{
		{ID: 1 << 60, Script: ID{9}, Tenant: tenant, Parameters: []string{"msg", "metadata"}, Body: "return 1", Args: []string{"{}", "", "\xed\xa0\x80"}, Budget: time.Second, Timeout: 500 * time.Millisecond, Compile: true},
		{ID: 2, Script: ID{8}, Tenant: tenant},
	}
	var b []byte
	for i := range calls {
		b = AppendCall(b, &calls[i])
	}
	b = AppendSource(b, "replies")
	var read sluicepb.ScriptCalls
	if err := proto.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	again, err := proto.Marshal(&read)
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range [][]byte{b, again} {
		reply, got, err := DecodeCalls(written)
		if err != nil || reply != "replies" {
			t.Fatalf("reply topic %q, %v", reply, err)
		}
		if diff := cmp.Diff(calls, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnswersAreTheContracts(t *testing.T) {
	answers := []Answer{
		{ID: 7, Outcome: Away, Text: "\x00\xff", Line: 12, Ran: 1500 * time.Microsecond},
		{ID: 8, Undefined: true},
	}
	var b []byte
	for i := range answers {
		b = AppendAnswer(b, &answers[i])
	}
	b = AppendSource(b, "executor-1")
	var read sluicepb.ScriptAnswers
	if err := proto.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	again, err := proto.Marshal(&read)
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range [][]byte{b, again} {
		executor, got, err := DecodeAnswers(written)
		if err != nil || executor != "executor-1" {
			t.Fatalf("executor %q, %v", executor, err)
		}
		if diff := cmp.Diff(answers, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestB17_ParametersArePartOfTheIdentity(t *testing.T) {
	generate := Identify(tenant, []string{"prevMsg", "prevMetadata", "prevMsgType"}, "return 1")
	update := Identify(tenant, []string{"msg", "metadata", "msgType"}, "return 1")
	other := Identify(ident.TenantID{}, []string{"msg", "metadata", "msgType"}, "return 1")
	moved := Identify(tenant, []string{"msg", "metadata"}, "msgTypereturn 1")
	if generate == update || update == other || update == moved {
		t.Error("two scripts have one id")
	}
	if update != Identify(tenant, []string{"msg", "metadata", "msgType"}, "return 1") {
		t.Error("one script has two ids")
	}
}

func FuzzDecodeCalls(f *testing.F) {
	f.Add(AppendSource(AppendCall(nil, &Call{ID: 1, Script: ID{1}, Tenant: tenant, Args: []string{"a", ""}, Body: "b"}), "r"))
	f.Add([]byte{0x0a, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, calls, err := DecodeCalls(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range calls {
			again = AppendCall(again, &calls[i])
		}
		sameReply, same, err := DecodeCalls(AppendSource(again, reply))
		if diff := cmp.Diff(calls, same); err != nil || sameReply != reply || diff != "" {
			t.Errorf("%v %q %s", err, sameReply, diff)
		}
	})
}

func FuzzDecodeAnswers(f *testing.F) {
	f.Add(AppendSource(AppendAnswer(nil, &Answer{ID: 1, Outcome: Runtime, Text: "x", Line: 1, Ran: time.Second}), "e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, answers, err := DecodeAnswers(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range answers {
			again = AppendAnswer(again, &answers[i])
		}
		_, same, err := DecodeAnswers(again)
		if diff := cmp.Diff(answers, same); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	})
}
