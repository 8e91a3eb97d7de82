package httpapi_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

// alarmAnswer is what tests look at of an alarm.
type alarmAnswer struct {
	ID, Originator, CustomerID struct{ EntityType, ID string }
	Type, Severity, Status     string
	Acknowledged, Cleared      bool
	StartTs, EndTs, AckTs      int64
	OriginatorName             string
	AssigneeID                 *struct{ ID string }
	Assignee                   *struct{ Email string }
	Details                    map[string]any
}

type alarmPage struct {
	Data                      []alarmAnswer
	TotalElements, TotalPages int
	HasNext                   bool
}

func alarmBody(d ident.DeviceID, kind, severity string) string {
	return fmt.Sprintf(`{"originator":{"entityType":"DEVICE","id":%q},"type":%q,"severity":%q,"details":{"a":1}}`, d, kind, severity)
}

func raise(c *httpapitest.Client, d ident.DeviceID, kind, severity string) (a alarmAnswer) {
	c.Do("POST", "/api/alarm", alarmBody(d, kind, severity)).Expect(200).JSON(&a)
	return a
}

// kinds returns the types of the messages told since, with their originators' types.
func kinds(p *httpapitest.Platform) []string {
	told := []string{}
	for _, c := range p.Changes.Take() {
		told = append(told, c.Originator.Type.String()+" "+c.Kind)
	}
	return told
}

// TestAlarmLives is case 76 of rest-api §7.
func TestAlarmLives(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	d := p.Demo(t, "Test Device A1")
	first := raise(admin, d.ID, "High", "MAJOR")
	if first.Status != "ACTIVE_UNACK" || first.StartTs == 0 || first.EndTs != first.StartTs || first.CustomerID.ID != d.Customer.String() || first.Details["a"] != 1.0 {
		t.Errorf("created %+v", first)
	}
	if again := raise(admin, d.ID, "High", "CRITICAL"); again.ID != first.ID || again.Severity != "CRITICAL" {
		t.Errorf("raised again: %+v", again)
	}
	p.Changes.Take()
	path := "/api/alarm/" + first.ID.ID
	var info alarmAnswer
	admin.Do("POST", path+"/ack", nil).Expect(200).JSON(&info)
	if info.Status != "ACTIVE_ACK" || info.AckTs == 0 || info.OriginatorName != "Test Device A1" {
		t.Errorf("acknowledged: %+v", info)
	}
	admin.Do("POST", path+"/ack", nil).ExpectError(400, 31)
	admin.Do("POST", path+"/clear", nil).Expect(200).JSON(&info)
	if info.Status != "CLEARED_ACK" {
		t.Errorf("cleared: %+v", info)
	}
	admin.Do("POST", path+"/clear", nil).ExpectError(400, 31)
	next := raise(admin, d.ID, "High", "MAJOR")
	if next.ID == first.ID {
		t.Error("a cleared alarm came back")
	}
	if body := string(admin.Do("DELETE", "/api/alarm/"+next.ID.ID, nil).Expect(200).Body); body != "true" {
		t.Errorf("deleted: %s", body)
	}
	admin.Do("GET", "/api/alarm/"+next.ID.ID, nil).ExpectError(404, 32)
	changes := p.Changes.Take()
	var told []string
	for _, c := range changes {
		told = append(told, c.Kind)
		if c.Originator != d.ID.Entity() || c.Metadata["userEmail"] != "tenant@thingsboard.org" || c.Metadata["userId"] == "" || c.Metadata["entityName"] != "Test Device A1" {
			t.Errorf("told %+v", c)
		}
	}
	if diff := cmp.Diff([]string{entity.AlarmAck, entity.AlarmClear, entity.AlarmDelete}, told); diff != "" {
		t.Errorf("rule chains are told (-want +got):\n%s", diff)
	}
}

func TestAlarmsAreAssigned(t *testing.T) {
	p := httpapitest.Start(t)
	admin, user := p.Admin(t), p.Customer(t)
	a := raise(admin, p.Demo(t, "Test Device A1").ID, "High", "MAJOR")
	p.Changes.Take()
	var me struct{ ID struct{ ID string } }
	user.Get("/api/auth/user", &me)
	path := "/api/alarm/" + a.ID.ID
	admin.Do("POST", path+"/assign/"+me.ID.ID, nil).Expect(200).JSON(&a)
	if a.AssigneeID == nil || a.AssigneeID.ID != me.ID.ID {
		t.Errorf("assigned: %+v", a)
	}
	admin.Do("POST", path+"/assign/"+me.ID.ID, nil).ExpectError(400, 31)
	admin.Do("POST", path+"/assign/"+ident.New().String(), nil).ExpectError(404, 32)
	admin.Get("/api/alarm/info/"+a.ID.ID, &a)
	if a.Assignee == nil || a.Assignee.Email != "customer@thingsboard.org" {
		t.Errorf("info: %+v", a)
	}
	var page alarmPage
	for path, want := range map[string]int{"&assigneeId=" + me.ID.ID: 1, "&assigneeId=" + ident.New().String(): 0} {
		admin.Get("/api/alarms?pageSize=10&page=0"+path, &page)
		if page.TotalElements != want {
			t.Errorf("%s finds %d, want %d", path, page.TotalElements, want)
		}
	}
	user.Do("DELETE", path+"/assign", nil).Expect(200)
	user.Do("DELETE", path+"/assign", nil).ExpectError(400, 31)
	if diff := cmp.Diff([]string{"DEVICE ALARM_ASSIGNED", "DEVICE ALARM_UNASSIGNED"}, kinds(p)); diff != "" {
		t.Errorf("rule chains are told (-want +got):\n%s", diff)
	}
}

// TestAlarmLists is case 77 of rest-api §7, and more.
func TestAlarmLists(t *testing.T) {
	p := httpapitest.Start(t)
	admin, user := p.Admin(t), p.Customer(t)
	mine, other := p.Demo(t, "Test Device A1"), p.Demo(t, "Test Device B1")
	raise(admin, mine.ID, "One", "MAJOR")
	raise(admin, mine.ID, "Two", "CRITICAL")
	cleared := raise(admin, other.ID, "Three", "WARNING")
	admin.Do("POST", "/api/alarm/"+cleared.ID.ID+"/clear", nil).Expect(200)
	at := "/DEVICE/" + mine.ID.String()
	for _, c := range []struct {
		who  *httpapitest.Client
		path string
		want []string
	}{
		{admin, "/api/alarms?", []string{"One", "Three", "Two"}},
		{admin, "/api/alarms?searchStatus=ACTIVE&", []string{"One", "Two"}},
		{admin, "/api/alarms?status=CLEARED_UNACK&", []string{"Three"}},
		{admin, "/api/alarms?textSearch=tw&", []string{"Two"}},
		{admin, "/api/alarms?startTime=1&endTime=2&", []string{}},
		{admin, "/api/v2/alarms?statusList=ACTIVE,CLEARED&", []string{"One", "Three", "Two"}},
		{admin, "/api/v2/alarms?severityList=MAJOR,WARNING&", []string{"One", "Three"}},
		{admin, "/api/v2/alarms?typeList=Two,Three&statusList=ACTIVE&", []string{"Two"}},
		{admin, "/api/alarm" + at + "?", []string{"One", "Two"}},
		{admin, "/api/v2/alarm" + at + "?typeList=One&", []string{"One"}},
		{user, "/api/alarms?", []string{"One", "Two"}},
		{user, "/api/alarm" + at + "?fetchOriginator=true&", []string{"One", "Two"}},
	} {
		var page alarmPage
		c.who.Get(c.path+"pageSize=10&page=0", &page)
		types := []string{}
		for _, a := range page.Data {
			types = append(types, a.Type)
		}
		slices.Sort(types)
		if diff := cmp.Diff(c.want, types); diff != "" || page.TotalElements != len(c.want) {
			t.Errorf("%s finds %d (-want +got):\n%s", c.path, page.TotalElements, diff)
		}
	}
	for path, status := range map[string]int{
		"/api/alarms?pageSize=10&page=0&searchStatus=ACTIVE&status=ACTIVE_ACK": 400,
		"/api/alarms?pageSize=10&page=0&status=ACTIVE":                         400,
		"/api/alarms?pageSize=10&page=0&sortProperty=nonsense":                 400,
		"/api/v2/alarms?pageSize=10&page=0&severityList=BAD":                   400,
		"/api/alarms?pageSize=0&page=0":                                        400,
		"/api/alarm/NOTHING/" + mine.ID.String() + "?pageSize=1&page=0":        400,
	} {
		admin.Do("GET", path, nil).ExpectError(status, 31)
	}
	user.Do("GET", "/api/alarm/DEVICE/"+other.ID.String()+"?pageSize=10&page=0", nil).ExpectError(403, 20)
	if body := string(admin.Do("GET", "/api/alarm/highestSeverity"+at, nil).Expect(200).Body); body != `"CRITICAL"` {
		t.Errorf("the highest severity is %s", body)
	}
	if body := string(admin.Do("GET", "/api/alarm/highestSeverity"+at+"?searchStatus=CLEARED", nil).Expect(200).Body); body != "null" {
		t.Errorf("of none the highest severity is %s", body)
	}
	var types struct {
		Data          []struct{ Type, EntityType string }
		TotalElements int
	}
	admin.Get("/api/alarm/types?pageSize=2&page=1", &types)
	if types.TotalElements != 3 || len(types.Data) != 1 || types.Data[0].Type != "Two" || types.Data[0].EntityType != "ALARM" {
		t.Errorf("types: %+v", types)
	}
}

func TestAlarmsAreRefused(t *testing.T) {
	p := httpapitest.Start(t)
	admin, user := p.Admin(t), p.Customer(t)
	other := p.Demo(t, "Test Device B1")
	foreign := raise(admin, other.ID, "Theirs", "MAJOR")
	for name, c := range map[string]struct {
		answer       httpapitest.Answer
		status, code int
	}{
		"no originator":   {admin.Do("POST", "/api/alarm", `{"type":"x","severity":"MAJOR"}`), 400, 31},
		"no type":         {admin.Do("POST", "/api/alarm", alarmBody(other.ID, "", "MAJOR")), 400, 31},
		"no severity":     {admin.Do("POST", "/api/alarm", alarmBody(other.ID, "x", "")), 400, 31},
		"bad severity":    {admin.Do("POST", "/api/alarm", alarmBody(other.ID, "x", "AWFUL")), 400, 31},
		"unknown device":  {admin.Do("POST", "/api/alarm", alarmBody(ident.DeviceID{ID: ident.New()}, "x", "MAJOR")), 404, 32},
		"foreign device":  {user.Do("POST", "/api/alarm", alarmBody(other.ID, "x", "MAJOR")), 403, 20},
		"foreign alarm":   {user.Do("GET", "/api/alarm/"+foreign.ID.ID, nil), 403, 20},
		"foreign ack":     {user.Do("POST", "/api/alarm/"+foreign.ID.ID+"/ack", nil), 403, 20},
		"foreign delete":  {user.Do("DELETE", "/api/alarm/"+foreign.ID.ID, nil), 403, 20},
		"ends too early":  {admin.Do("POST", "/api/alarm", `{"originator":{"entityType":"DEVICE","id":"`+other.ID.String()+`"},"type":"x","severity":"MAJOR","startTs":5,"endTs":4}`), 400, 31},
		"of another type": {admin.Do("POST", "/api/alarm", `{"id":{"id":"`+foreign.ID.ID+`"},"originator":{"entityType":"DEVICE","id":"`+other.ID.String()+`"},"type":"x","severity":"MAJOR"}`), 400, 31},
	} {
		t.Log(name)
		c.answer.ExpectError(c.status, c.code)
	}
}

// TestAlarmsAreSavedWithTheirState: what an alarm was sent with is honoured, and what has an id is updated.
func TestAlarmsAreSavedWithTheirState(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	d := p.Demo(t, "Test Device A1").ID.String()
	var a alarmAnswer
	admin.Do("POST", "/api/alarm", `{"originator":{"entityType":"DEVICE","id":"`+d+`"},"type":"x","severity":"MAJOR","startTs":5,"endTs":9,"acknowledged":true,"ackTs":7,"cleared":true}`).
		Expect(200).JSON(&a)
	if a.Status != "CLEARED_ACK" || a.StartTs != 5 || a.EndTs != 9 || a.AckTs != 7 {
		t.Errorf("saved %+v", a)
	}
	admin.Do("POST", "/api/alarm", `{"id":{"entityType":"ALARM","id":"`+a.ID.ID+`"},"originator":{"entityType":"DEVICE","id":"`+d+`"},"type":"x","severity":"MINOR","details":{"b":2}}`).
		Expect(200).JSON(&a)
	if a.Severity != "MINOR" || a.EndTs != 9 || a.Status != "CLEARED_ACK" || a.Details["b"] != 2.0 {
		t.Errorf("updated %+v", a)
	}
}

func TestAlarmsGoWithTheirDevice(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	d := p.Demo(t, "Test Device A1")
	raise(admin, d.ID, "x", "MAJOR")
	admin.Do("DELETE", "/api/device/"+d.ID.String(), nil).Expect(200)
	var page alarmPage
	admin.Get("/api/alarms?pageSize=10&page=0", &page)
	if page.TotalElements != 0 {
		t.Errorf("left: %+v", page)
	}
}
