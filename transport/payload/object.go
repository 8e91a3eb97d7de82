package payload

// Member is one member of an object that is a request, not readings. Its texts are the caller's.
type Member struct {
	// Text is the value when it is a string, unescaped.
	Text   string
	IsText bool
	// JSON is the value as it was written, without the space between its tokens.
	JSON string
}

// IsNull reports whether the value is null.
func (m Member) IsNull() bool { return m.JSON == "null" }

// Object reads {"name":value,…} and hands every member to take, in their order: of a repeated one the last counts, if take has
// it so. An error of take ends it. Errors of Object's own are of fault.Invalid.
func (d *Decoder) Object(data []byte, take func(name string, m Member) error) error {
	d.reset(data)
	if d.peek() != '{' {
		return d.fail("an object is expected")
	}
	if err := d.enter(); err != nil {
		return err
	}
	for first := true; ; first = false {
		name, more, err := d.nextKey(first)
		if err != nil {
			return err
		}
		if !more {
			return d.end()
		}
		m, err := d.requestMember()
		if err != nil {
			return err
		}
		if err := take(string([]byte(name)), m); err != nil {
			return err
		}
	}
}

// requestMember reads one value as it stands.
func (d *Decoder) requestMember() (m Member, err error) {
	if err := d.count(); err != nil {
		return m, err
	}
	start := d.pos
	if m.IsText = d.at('"'); m.IsText {
		text, err := d.text()
		if err != nil {
			return m, err
		}
		m.Text = string([]byte(text))
	} else {
		d.loose = false
		if err := d.skip(); err != nil {
			return m, err
		}
	}
	text := d.data[start:d.pos]
	if !m.IsText && d.loose {
		text = appendCompact(nil, text)
	}
	m.JSON = string(text)
	return m, nil
}

// AppendText appends text as a JSON string.
func AppendText(dst []byte, text string) []byte { return appendText(dst, text) }
