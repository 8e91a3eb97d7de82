package schema

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// parser reads a text into types.
type parser struct {
	lexer
	pkg      string
	messages map[string]*message // by full name, without the package
	enums    map[string]*enum
	open     []pending // fields whose type is yet to be found
	last     *message  // at the top
}

// pending is a field whose type is a name, to be looked up from scope outwards.
type pending struct {
	f     *field
	scope string
	line  int
}

func (p *parser) file() error {
	if err := p.next(); err != nil {
		return err
	}
	if err := p.syntax(); err != nil {
		return err
	}
	for p.token != "" || p.quoted {
		if err := p.declaration(); err != nil {
			return err
		}
	}
	if p.last == nil {
		return p.fail("there is no message")
	}
	return p.resolve()
}

func (p *parser) syntax() error {
	for _, token := range []string{"syntax", "="} {
		if err := p.expect(token); err != nil {
			return err
		}
	}
	if !p.quoted || p.token != "proto3" {
		return p.fail(`the syntax must be "proto3"`)
	}
	if err := p.next(); err != nil {
		return err
	}
	return p.expect(";")
}

// declaration reads one of the file's parts.
func (p *parser) declaration() error {
	if found, err := p.accept(";"); found || err != nil {
		return err
	}
	word, err := p.name(false)
	if err != nil {
		return err
	}
	switch word {
	case "message":
		m, err := p.message("", 1)
		p.last = m
		return err
	case "enum":
		return p.enum("")
	case "package":
		if p.pkg, err = p.name(true); err != nil {
			return err
		}
		return p.expect(";")
	case "option":
		return p.option()
	default:
		return p.fail("%q cannot be used in a profile's schema", word)
	}
}

// option goes past an option; none changes how messages are written.
func (p *parser) option() error {
	if err := p.skipUntil(";"); err != nil {
		return err
	}
	return p.next()
}

// message reads a message type within scope.
func (p *parser) message(scope string, depth int) (*message, error) {
	if depth > maxDepth {
		return nil, p.fail("messages are nested deeper than %d", maxDepth)
	}
	name, err := p.name(false)
	if err != nil {
		return nil, err
	}
	m := &message{name: scope + name, byNumber: map[protowire.Number]*field{}, byName: map[string]*field{}}
	if p.messages[m.name] != nil || p.enums[m.name] != nil {
		return nil, p.fail("there are two types called %s", m.name)
	}
	p.messages[m.name] = m
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	for {
		if done, err := p.accept("}"); done || err != nil {
			return m, err
		}
		if err := p.member(m, depth); err != nil {
			return nil, err
		}
	}
}

// member reads one part of a message.
func (p *parser) member(m *message, depth int) error {
	if found, err := p.accept(";"); found || err != nil {
		return err
	}
	word, err := p.name(true)
	if err != nil {
		return err
	}
	if p.token == "=" { // what follows a type is a name
		return p.fail("a type and a name are expected")
	}
	switch word {
	case "message":
		_, err = p.message(m.name+".", depth+1)
	case "enum":
		err = p.enum(m.name + ".")
	case "option", "reserved":
		err = p.option()
	case "oneof":
		err = p.oneof(m)
	case "map":
		if p.token == "<" {
			return p.mapField(m)
		}
		err = p.field(m, &field{typeName: word})
	case "repeated", "optional":
		f := &field{repeated: word == "repeated", optional: word == "optional"}
		if f.typeName, err = p.name(true); err == nil {
			err = p.field(m, f)
		}
	case "extensions", "extend", "group", "required":
		err = p.fail("%q cannot be used in a profile's schema", word)
	default:
		err = p.field(m, &field{typeName: word})
	}
	return err
}

func (p *parser) oneof(m *message) error {
	if _, err := p.name(false); err != nil {
		return err
	}
	if err := p.expect("{"); err != nil {
		return err
	}
	m.oneofs++
	for number := m.oneofs; ; {
		if done, err := p.accept("}"); done || err != nil {
			return err
		}
		word, err := p.name(true)
		switch {
		case err != nil:
		case word == "option":
			err = p.option()
		default:
			err = p.field(m, &field{typeName: word, oneof: number})
		}
		if err != nil {
			return err
		}
	}
}

// mapField reads map<key, value>: on the wire, a repeated message of the two.
func (p *parser) mapField(m *message) error {
	if err := p.expect("<"); err != nil {
		return err
	}
	word, err := p.name(false)
	if err != nil {
		return err
	}
	key, found := scalars[word]
	if !found || key == kindDouble || key == kindFloat || key == kindBytes {
		return p.fail("a map cannot have keys of type %s", word)
	}
	if err := p.expect(","); err != nil {
		return err
	}
	if word, err = p.name(true); err != nil {
		return err
	}
	if err := p.expect(">"); err != nil {
		return err
	}
	entry := &message{byNumber: map[protowire.Number]*field{}, byName: map[string]*field{}}
	value := &field{number: 2, name: "value", typeName: word}
	entry.add(&field{number: 1, name: "key", kind: key})
	entry.add(value)
	p.typed(value, m.name)
	return p.field(m, &field{kind: kindMessage, message: entry, repeated: true, isMap: true})
}

// field reads a field from its name on and adds it to m.
func (p *parser) field(m *message, f *field) (err error) {
	if f.name, err = p.name(false); err != nil {
		return err
	}
	if err := p.expect("="); err != nil {
		return err
	}
	number, err := p.number()
	if err != nil {
		return err
	}
	if number < 1 || number > int64(protowire.MaxValidNumber) || 19000 <= number && number <= 19999 {
		return p.fail("a field cannot have the number %d", number)
	}
	f.number = protowire.Number(number)
	if found, err := p.accept("["); err != nil {
		return err
	} else if found {
		if err := p.fieldOptions(f); err != nil {
			return err
		}
	}
	if !m.add(f) {
		return p.fail("%s has two fields called %s or of number %d", m.name, f.name, number)
	}
	if f.message == nil {
		p.typed(f, m.name)
	}
	return p.expect(";")
}

// fieldOptions reads [name = value, …]; json_name is the only one that matters.
func (p *parser) fieldOptions(f *field) error {
	for {
		isName := !p.quoted && p.token == "json_name"
		if err := p.skipUntil("=]"); err != nil {
			return err
		}
		if err := p.expect("="); err != nil {
			return err
		}
		if isName && p.quoted && p.token != "" {
			f.json = p.token
		}
		if err := p.skipUntil(",]"); err != nil {
			return err
		}
		if more, err := p.accept(","); err != nil || !more {
			if err == nil {
				err = p.expect("]")
			}
			return err
		}
	}
}

// add adds f to m; false when its number or name is taken.
func (m *message) add(f *field) bool {
	if f.json == "" {
		f.json = jsonName(f.name)
	}
	if m.byNumber[f.number] != nil || m.byName[f.name] != nil || m.byName[f.json] != nil {
		return false
	}
	f.index = len(m.fields)
	m.fields = append(m.fields, f)
	m.byNumber[f.number], m.byName[f.name], m.byName[f.json] = f, f, f
	return true
}

func (p *parser) enum(scope string) error {
	name, err := p.name(false)
	if err != nil {
		return err
	}
	name = scope + name
	if p.messages[name] != nil || p.enums[name] != nil {
		return p.fail("there are two types called %s", name)
	}
	e := &enum{names: map[int32]string{}, values: map[string]int32{}}
	p.enums[name] = e
	if err := p.expect("{"); err != nil {
		return err
	}
	for {
		if done, err := p.accept("}"); done || err != nil {
			if err == nil && len(e.values) == 0 {
				err = p.fail("%s has no values", name)
			}
			return err
		}
		if err := p.enumValue(e); err != nil {
			return err
		}
	}
}

func (p *parser) enumValue(e *enum) error {
	if found, err := p.accept(";"); found || err != nil {
		return err
	}
	name, err := p.name(false)
	if err != nil {
		return err
	}
	if (name == "option" || name == "reserved") && p.token != "=" {
		return p.option()
	}
	if err := p.expect("="); err != nil {
		return err
	}
	number, err := p.number()
	if err != nil {
		return err
	}
	if number != int64(int32(number)) || len(e.values) == 0 && number != 0 {
		return p.fail("%s cannot be %d: enums begin with 0 and have 32 bits", name, number)
	}
	e.values[name] = int32(number)
	if e.names[int32(number)] == "" {
		e.names[int32(number)] = name
	}
	return p.option() // what may stand before the semicolon
}

// typed gives f the type it names, now or at the end.
func (p *parser) typed(f *field, scope string) {
	if k, found := scalars[f.typeName]; found {
		f.kind = k
		return
	}
	p.open = append(p.open, pending{f, scope, p.line})
}

// resolve looks the types up that were named before they were known.
func (p *parser) resolve() error {
	for _, o := range p.open {
		if !p.find(o) {
			p.line = o.line
			return p.fail("there is no type called %s", o.f.typeName)
		}
	}
	return nil
}

// find looks from the innermost scope outwards, as names hide others.
func (p *parser) find(o pending) bool {
	name := o.f.typeName
	absolute := strings.HasPrefix(name, ".")
	name = strings.TrimPrefix(name, ".")
	if inner, ok := strings.CutPrefix(name, p.pkg+"."); ok && p.pkg != "" && p.set(o.f, inner) {
		return true
	}
	for scope := o.scope; !absolute; {
		if p.set(o.f, scope+"."+name) {
			return true
		}
		dot := strings.LastIndexByte(scope, '.')
		if dot < 0 {
			break
		}
		scope = scope[:dot]
	}
	return p.set(o.f, name)
}

func (p *parser) set(f *field, name string) bool {
	if m := p.messages[name]; m != nil {
		f.kind, f.message = kindMessage, m
		return true
	}
	if e := p.enums[name]; e != nil {
		f.kind, f.enum = kindEnum, e
		return true
	}
	return false
}
