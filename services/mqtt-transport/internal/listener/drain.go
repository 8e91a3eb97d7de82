package listener

import "time"

// drainStep is how often some connections are let go.
const drainStep = 20 * time.Millisecond

// letGo drains every connection there is, at the drain rate: their clients come back somewhere
// else, and must not all be there in the same instant. Those that wait for their turn are served.
// It takes half of the drain timeout at most, so that the last have the rest of it.
func (s *Server) letGo() {
	var all []*conn
	s.each(func(c *conn) { all = append(all, c) })
	steps := max(1, int(s.options.DrainTimeout/2/drainStep))
	some := max(1, (len(all)+steps-1)/steps, int(int64(s.options.DrainRate)*int64(drainStep)/int64(time.Second)))
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	for {
		for _, c := range all[:min(some, len(all))] {
			c.Drain()
		}
		if len(all) <= some {
			return
		}
		all = all[some:]
		<-ticker.C
	}
}
