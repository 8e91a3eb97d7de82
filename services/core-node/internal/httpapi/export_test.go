package httpapi

// Routes returns every route as its method and path.
func Routes() [][2]string {
	var all [][2]string
	for _, r := range (&api{}).routes() {
		all = append(all, [2]string{r.method, r.path})
	}
	return all
}

var (
	ParseTelemetry  = parseTelemetry
	ParseAttributes = parseAttributes
)
