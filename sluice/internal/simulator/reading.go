package simulator

import (
	"math"
	"strconv"
	"time"
)

// Sensor is one series of a device: a slow wave around Middle.
type Sensor struct {
	Key    string
	Middle float64
	Swing  float64
	Period time.Duration
}

// reading is what the sensors show at age, as the JSON object devices send.
func reading(sensors []Sensor, age time.Duration) []byte {
	payload := []byte{'{'}
	for i, s := range sensors {
		if i > 0 {
			payload = append(payload, ',')
		}
		payload = strconv.AppendQuote(payload, s.Key)
		payload = append(payload, ':')
		payload = strconv.AppendFloat(payload, s.at(age), 'f', 2, 64)
	}
	return append(payload, '}')
}

func (s Sensor) at(age time.Duration) float64 {
	return s.Middle + s.Swing*math.Sin(2*math.Pi*age.Seconds()/s.Period.Seconds())
}
