package transport_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

var seven = []telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(7)}}

// openings counts the sessions that were announced for the first time and are over with one downlink.
func openings(t *testing.T, r *transporttest.Rig) (once, closed int) {
	t.Helper()
	reports, err := r.Bus.Reports()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range reports {
		if o := m.GetSessionOpened(); o.GetOnce() && !o.GetAgain() {
			once++
		}
		if m.GetSessionClosed() != nil {
			closed++
		}
	}
	return once, closed
}

func TestEveryPollGetsTheNextChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		device := r.Core.AddDevice("T")
		synctest.Wait()
		d := authenticate(t, r, token("T"))
		_, in := open(t, r, d) // a session beside the polls is let alone
		var polling sync.WaitGroup
		for range 50 {
			polling.Go(func() {
				updated, deleted, err := r.Transport.PollAttributes(t.Context(), d)
				if err != nil || len(updated) != 1 || updated[0] != seven[0] || len(deleted) != 1 {
					t.Errorf("got %v %v %v", updated, deleted, err)
				}
			})
			polling.Go(func() {
				request, err := r.Transport.PollRPC(t.Context(), d)
				if err != nil || request.Method != "m" || request.ID != 5 {
					t.Errorf("got %+v %v", request, err)
				}
			})
		}
		synctest.Wait()
		if once, _ := openings(t, r); once != 2 {
			t.Errorf("%d sessions for the polls of a device, want one of a kind", once)
		}
		r.UpdateAttributes(t, device, seven, "gone")
		r.SendRPC(t, device, &sluicepb.RpcRequest{RequestId: 5, Method: "m"})
		polling.Wait()
		r.Report(t, func(m *sluicepb.CoreMessage) bool {
			return m.GetRpcProgress().GetStage() == sluicepb.RpcStage_RPC_DELIVERED
		})
		if _, closed := openings(t, r); closed != 0 {
			t.Error("the end of a session that had its downlink was told")
		}
		in.expectClosed(t)
	})
}

func TestAPollEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		device := r.Core.AddDevice("T")
		synctest.Wait()
		d := authenticate(t, r, token("T"))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var polling sync.WaitGroup
		polling.Go(func() {
			if _, _, err := r.Transport.PollAttributes(short, d); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		long, stop := context.WithTimeout(t.Context(), 5*time.Minute)
		defer stop()
		polling.Go(func() {
			if _, _, err := r.Transport.PollAttributes(long, d); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the second: %v", err)
			}
		})
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		again := 0
		reports := r.Reports(t, 1)
		for _, m := range reports {
			if m.GetSessionOpened().GetAgain() && m.GetSessionOpened().GetAttributes() && m.GetSessionOpened().GetOnce() {
				again++
			}
		}
		if once, closed := openings(t, r); once != 1 || closed != 0 || again < 3 {
			t.Errorf("%d sessions, %d closed, %d times announced again", once, closed, again)
		}
		polling.Wait()
		synctest.Wait()
		if _, closed := openings(t, r); closed != 1 {
			t.Error("the owner is not told that nobody waits")
		}
		_ = device
	})
}

func TestPollsEndWithTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, func(c *transport.Config) { c.DeviceLimits.Messages = "3:3600" })
		device := r.Core.AddDevice("T")
		synctest.Wait()
		d := authenticate(t, r, token("T"))
		var polling sync.WaitGroup
		poll := func(want error, kind fault.Kind) {
			polling.Go(func() {
				_, err := r.Transport.PollRPC(t.Context(), d)
				if want != nil && !errors.Is(err, want) || fault.KindOf(err) != kind {
					t.Errorf("got %v", err)
				}
			})
			synctest.Wait()
		}
		poll(nil, fault.Unauthenticated)
		r.Changed(t, device, false, true)
		polling.Wait()
		poll(transport.ErrDeviceDeleted, fault.NotFound)
		r.Changed(t, device, true, false)
		polling.Wait()
		poll(nil, fault.Unavailable)
		session := r.Session(t, device, true)
		if err := r.Bus.Deliver(&sluicepb.DeviceDownlink{SessionId: session[:], Body: &sluicepb.DeviceDownlink_CloseSession{
			CloseSession: &sluicepb.CloseSession{Reason: sluicepb.CloseReason_RPC_NOT_DELIVERED},
		}}); err != nil {
			t.Error(err)
		}
		polling.Wait()
		poll(transport.ErrRateLimited, fault.Limited)
		polling.Wait()
	})
}
