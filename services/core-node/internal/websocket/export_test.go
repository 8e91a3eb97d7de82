package websocket

// ParseFrame parses a frame and reads what its commands are about; it returns how many there are.
func ParseFrame(data []byte, legacy bool) (commands int, err error) {
	f, err := parseFrame(data, legacy)
	for _, c := range f.commands {
		c.keys()
		if _, err := c.entity(); err != nil {
			continue
		}
	}
	return len(f.commands), err
}
