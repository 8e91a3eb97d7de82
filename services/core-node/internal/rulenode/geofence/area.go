package geofence

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// earth is its mean radius in km.
const earth = 6371.0087714

type circle struct {
	center point
	radius float64 // in units
	unit   float64 // units per km
}

func newCircle(lat, lon, radius float64, unit string) (area, error) {
	perKilometer, ok := map[string]float64{
		"METER": 1000, "KILOMETER": 1, "FOOT": 3280.84, "MILE": 0.62137, "NAUTICAL_MILE": 0.539957,
	}[unit]
	if !ok {
		return nil, fmt.Errorf("%q is no unit of length", unit)
	}
	return circle{point{lat, lon}, radius, perKilometer}, nil
}

// holds does not count the edge.
func (c circle) holds(at point) bool {
	const degree = math.Pi / 180
	north, east := (at.lat-c.center.lat)*degree, (at.lon-c.center.lon)*degree
	half := math.Pow(math.Sin(north/2), 2) + math.Cos(c.center.lat*degree)*math.Cos(at.lat*degree)*math.Pow(math.Sin(east/2), 2)
	return 2*earth*math.Asin(math.Min(1, math.Sqrt(half)))*c.unit < c.radius
}

type polygon []point

// polygons is an area of several; one that lies within another is a hole in it.
type polygons struct{ parts, holes []polygon }

// mostPoints bounds the points of an area.
const mostPoints = 10_000

// readPolygons reads [[lat,lon],…], or a list of such.
func readPolygons(text string) (area, error) {
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, fmt.Errorf("read polygons: %w", err)
	}
	all, err := collect(tree, nil, 0)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("there is no polygon")
	}
	points := 0
	for _, p := range all {
		points += len(p)
	}
	if points > mostPoints {
		return nil, fmt.Errorf("polygons of more than %d points", mostPoints)
	}
	var a polygons
	for i, p := range all {
		if within(p, all, i) {
			a.holes = append(a.holes, p)
		} else {
			a.parts = append(a.parts, p)
		}
	}
	return a, nil
}

// within reports whether all points of p are in another of all.
func within(p polygon, all []polygon, self int) bool {
	for i, other := range all {
		if i == self {
			continue
		}
		inside := true
		for _, at := range p {
			if inside = other.holds(at); !inside {
				break
			}
		}
		if inside {
			return true
		}
	}
	return false
}

// collect finds the polygons in a tree of arrays.
func collect(tree any, all []polygon, depth int) ([]polygon, error) {
	list, ok := tree.([]any)
	if !ok || depth > 8 {
		return nil, errors.New("polygons are arrays of points [latitude, longitude]")
	}
	var p polygon
	for _, element := range list {
		at, is, err := readPoint(element)
		if err != nil {
			return nil, err
		}
		if is {
			p = append(p, at)
			continue
		}
		if all, err = collect(element, all, depth+1); err != nil {
			return nil, err
		}
	}
	if len(p) == 0 {
		return all, nil
	}
	if len(p) < 3 {
		return nil, errors.New("a polygon of less than 3 points")
	}
	return append(all, p), nil
}

func readPoint(element any) (p point, is bool, err error) {
	pair, ok := element.([]any)
	if !ok || len(pair) == 0 {
		return p, false, nil
	}
	if _, number := pair[0].(float64); !number {
		return p, false, nil
	}
	if len(pair) < 2 {
		return p, false, errors.New("a point of one number")
	}
	lon, ok := pair[1].(float64)
	if !ok {
		return p, false, errors.New("a point of one number")
	}
	return point{pair[0].(float64), lon}, true, nil
}

func (a polygons) holds(at point) bool {
	for _, hole := range a.holes {
		if hole.holds(at) {
			return false
		}
	}
	for _, p := range a.parts {
		if p.holds(at) {
			return true
		}
	}
	return false
}

// holds counts how often a ray from the point crosses the edges.
func (p polygon) holds(at point) bool {
	inside := false
	for i, j := 0, len(p)-1; i < len(p); j, i = i, i+1 {
		a, b := p[i], p[j]
		if (a.lon > at.lon) != (b.lon > at.lon) && at.lat < (b.lat-a.lat)*(at.lon-a.lon)/(b.lon-a.lon)+a.lat {
			inside = !inside
		}
	}
	return inside
}
