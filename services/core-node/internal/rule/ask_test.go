package rule

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
)

// asking is a stage whose first node asks, and whose second notes the bodies it is given.
func asking(t *testing.T, reply *Reply, err error) (s *stage, asked *[]Asking, bodies *[]string) {
	s = newStage(t)
	asked, bodies = &[]Asking{}, &[]string{}
	s.engine.o.Ask = func(_ context.Context, a Asking) (*Reply, error) {
		*asked = append(*asked, a)
		return reply, err
	}
	s.node("ask", false, func(_ context.Context, in *Message, turn *Turn) error {
		turn.Ask(Request{Method: "m"}, in)
		return nil
	})
	s.node("note", false, func(_ context.Context, in *Message, _ *Turn) error {
		*bodies = append(*bodies, in.Body.Text())
		return nil
	})
	return s, asked, bodies
}

func TestWhatADeviceAnswersGoesOn(t *testing.T) {
	refused := errors.New("too many")
	for name, c := range map[string]struct {
		reply    *Reply
		err      error
		relation string
		bodies   []string
		finished string
	}{
		"at once":            {&Reply{Body: "1"}, nil, "Success", []string{"1"}, "T ok"},
		"that it cannot":     {&Reply{Body: "no", Failed: errors.New("NO")}, nil, "Failure", []string{"no"}, "T ok"},
		"that, unlinked":     {&Reply{Body: "no", Failed: errors.New("NO")}, nil, "Success", []string{}, `T rule chain "C" node "ask": NO`},
		"not asked":          {nil, refused, "Failure", []string{"in"}, "T ok"},
		"not asked, nor led": {nil, refused, "Success", []string{}, `T rule chain "C" node "ask": too many`},
		"later":              {nil, nil, "Success", []string{}, "T ok"},
	} {
		t.Run(name, func(t *testing.T) {
			s, asked, bodies := asking(t, c.reply, c.err)
			chain := s.compile(`{"type":"ask","name":"ask"},{"type":"note","name":"note"}`, `{"fromIndex":0,"toIndex":1,"type":"`+c.relation+`"},`)
			f := s.flight(chain, 1, "T")
			f.Message.Body = TextBody("in")
			if err := s.engine.Start(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			s.settle()
			s.want(c.finished)
			if diff := cmp.Diff(c.bodies, *bodies); diff != "" {
				t.Error(diff)
			}
			if len(*asked) != 1 || (*asked)[0].Position == nil || (*asked)[0].Message.Body.Text() != "in" {
				t.Errorf("asked %+v", *asked)
			}
		})
	}
}

// What leads nowhere need not be kept.
func TestAQuestionThatLeadsNowhereHasNoPosition(t *testing.T) {
	s, asked, _ := asking(t, nil, nil)
	s.start(s.chain("ask"), 1, "T")
	s.settle()
	if s.want("T ok"); len(*asked) != 1 || (*asked)[0].Position != nil {
		t.Errorf("asked %+v", *asked)
	}
}

func TestAnAnswerIsHandedOn(t *testing.T) {
	for name, refuse := range map[string]error{"taken": nil, "refused": errors.New("there is no such process")} {
		t.Run(name, func(t *testing.T) {
			s, _, bodies := asking(t, nil, nil)
			s.refuse = refuse
			s.node("reply", false, func(_ context.Context, in *Message, turn *Turn) error {
				turn.Answer(Answer{Node: "mqtt-1", Session: ident.ID{3}, Request: 7, Payload: "p"}, in)
				return nil
			})
			s.start(s.chain("reply", "note"), 1, "T")
			s.settle()
			if refuse != nil {
				s.want(`T rule chain "C" node "reply": hand on: there is no such process`)
				return
			}
			s.want("T ok")
			if len(s.onward) != 1 || *s.onward[0].Answer != (Answer{Node: "mqtt-1", Session: ident.ID{3}, Request: 7, Payload: "p"}) || len(*bodies) != 1 {
				t.Errorf("handed on %+v, then %v", s.onward, *bodies)
			}
		})
	}
}
