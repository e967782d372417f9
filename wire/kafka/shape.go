package kafka

import "math"

// maxElements bounds what one request may enumerate: topics, partitions, configs, tags. A decoded
// element is some tens of bytes, whatever the few that an empty one takes on the wire.
const maxElements = 256 << 10

// shape is the layout of a request's body, as far as it decides what decoding costs. kmsg checks an
// array's count only against the bytes that are left, one for each element, and loops over as many
// tagged fields as a request claims to have; so a request is walked along its shape first, which
// takes no memory, and kmsg sees only what is as long as it says.
type shape struct {
	flexible int16 // the first flexible version
	fields   []field
	tags     []field // tagged fields with a structure of their own, by tag
}

// field is one part of a shape, present from version since to version until.
type field struct {
	kind         fieldKind
	size         int // of a fixed field, in bytes
	since, until int16
	tag          uint32
	fields       []field // of an array's elements or a nested structure
	tags         []field
}

type fieldKind uint8

const (
	fixed          fieldKind = iota
	text                     // a string that may not be null
	nullableText             //
	rawBytes                 // bytes that may not be null
	array                    // of structures, which have tags; null counts as empty
	values                   // an array of single values, which have none
	nullableStruct           // one byte says whether it is there
	structure                // the content of a tag
)

func bytesOf(n int) field    { return field{kind: fixed, size: n, until: math.MaxInt16} }
func str() field             { return field{kind: text, until: math.MaxInt16} }
func blob() field            { return field{kind: rawBytes, until: math.MaxInt16} }
func nullableStr() field     { return field{kind: nullableText, until: math.MaxInt16} }
func list(of ...field) field { return field{kind: array, fields: of, until: math.MaxInt16} }
func listOf(value field) field {
	return field{kind: values, fields: []field{value}, until: math.MaxInt16}
}

func maybe(of ...field) field { return field{kind: nullableStruct, fields: of, until: math.MaxInt16} }

func (f field) from(version int16) field { f.since = version; return f }
func (f field) upTo(version int16) field { f.until = version; return f }

// inTag gives the structure that tagged field holds.
func inTag(tag uint32, of ...field) field {
	return field{kind: structure, tag: tag, fields: of, until: math.MaxInt16}
}

// walker passes over a request along its shape.
type walker struct {
	decoder
	version  int16
	elements int
}

// fits says whether body is a whole request of that version. Bytes after the end are let pass, as
// Kafka does.
func (s *shape) fits(body []byte, version int16) bool {
	_, fits := s.measure(body, version)
	return fits
}

// measure is fits, and returns how many elements and tags the request has.
func (s *shape) measure(body []byte, version int16) (elements int, fits bool) {
	w := walker{decoder: decoder{rest: body, flexible: version >= s.flexible}, version: version}
	w.structure(s.fields, s.tags)
	return w.elements, !w.bad
}

func (w *walker) structure(fields, tags []field) {
	for i := range fields {
		f := &fields[i]
		if w.version < f.since || w.version > f.until {
			continue
		}
		if w.field(f); w.bad {
			return
		}
	}
	if w.flexible {
		w.tagged(tags)
	}
}

func (w *walker) field(f *field) {
	switch f.kind {
	case fixed:
		w.take(f.size)
	case text:
		w.take(w.stringLength())
	case nullableText:
		w.nullable(w.stringLength())
	case rawBytes:
		w.take(w.bytesLength())
	case array:
		for n := w.elementCount(); n > 0 && !w.bad; n-- {
			w.structure(f.fields, f.tags)
		}
	case values:
		for n := w.elementCount(); n > 0 && !w.bad; n-- {
			w.field(&f.fields[0])
		}
	case nullableStruct:
		if there := w.take(1); there != nil && int8(there[0]) != null {
			w.structure(f.fields, f.tags)
		}
	case structure:
		w.structure(f.fields, f.tags)
	}
}

// elementCount reads an array's length, null counting as empty.
func (w *walker) elementCount() int {
	n := w.arrayLength()
	if n == null {
		return 0
	}
	w.elements += n
	if n < 0 || n > len(w.rest) || w.elements > maxElements {
		w.fail()
		return 0
	}
	return n
}

// tagged walks tagged fields, and along their shape those that have one.
func (w *walker) tagged(known []field) {
	n := w.uvarint()
	w.elements += int(min(n, maxElements))
	if w.elements > maxElements {
		w.fail()
	}
	for ; n > 0 && !w.bad; n-- {
		tag := w.uvarint()
		content := w.take(int(w.uvarint()))
		for i := range known {
			if known[i].tag != tag || w.bad {
				continue
			}
			after := w.rest
			w.rest = content
			if w.field(&known[i]); w.bad {
				return
			}
			w.rest = after
		}
	}
}
