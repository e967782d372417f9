package kafka

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func randomSource() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// fill gives every field of a request some value, arrays up to three elements.
func fill(v reflect.Value, r *rand.Rand) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			if r.IntN(3) == 0 {
				v.Addr().Interface().(*kmsg.Tags).Set(100+r.Uint32N(5), []byte("tagged"))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(v.Field(i), r)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("bytes"))
			return
		}
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			if d, ok := v.Index(i).Addr().Interface().(interface{ Default() }); ok {
				d.Default()
			}
			fill(v.Index(i), r)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r)
		}
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), r)
		}
	case reflect.String:
		v.SetString([]string{"", "a", "orders", "a-rather-long-name-of-something"}[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64N(100) - 3)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64N(100))
	default:
		panic("a kind of field that no request had so far: " + v.Kind().String())
	}
}

// eachVersion calls f for every API and version that is advertised.
func eachVersion(f func(a *api, version int16)) {
	for i := range apis {
		for version := apis[i].min; version <= apis[i].max; version++ {
			f(&apis[i], version)
		}
	}
}

func TestShapesAreThoseOfKmsg(t *testing.T) {
	r := randomSource()
	eachVersion(func(a *api, version int16) {
		if a.key == keyProduce {
			return // parsed by hand
		}
		for range 50 {
			q := kmsg.RequestForKey(a.key)
			q.SetVersion(version)
			fill(reflect.ValueOf(q).Elem(), r)
			if q.IsFlexible() != (version >= a.shape.flexible) {
				t.Fatalf("%s version %d: flexible is %v", a.name, version, q.IsFlexible())
			}
			body := q.AppendTo(nil)
			w := walker{decoder: decoder{rest: body, flexible: q.IsFlexible()}, version: version}
			w.structure(a.shape.fields, a.shape.tags)
			if w.bad || len(w.rest) > 0 {
				t.Fatalf("%s version %d: the shape does not fit %x, %d bytes are left", a.name, version, body, len(w.rest))
			}
			for n := range body {
				if a.shape.fits(body[:n], version) {
					again := kmsg.RequestForKey(a.key)
					again.SetVersion(version)
					if err := again.ReadFrom(body[:n]); err != nil {
						t.Fatalf("%s version %d: the shape fits %d of %d bytes, kmsg says %v", a.name, version, n, len(body), err)
					}
				}
			}
		}
	})
}

func TestShapesRefuseCountsThatTheFrameCannotHold(t *testing.T) {
	manyTopics := []byte{0x7f, 0xff, 0xff, 0xff, 0}
	if metadataShape.fits(manyTopics, 8) {
		t.Error("an array of 2^31-1 topics in 5 bytes is let pass")
	}
	manyTags := []byte{0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0}
	if metadataShape.fits(manyTags, 12) {
		t.Error("4 billion tagged fields in 2 bytes are let pass")
	}
	withTag := shape{tags: []field{inTag(1, bytesOf(4))}}
	if !withTag.fits([]byte{1, 1, 5, 0, 0, 0, 0, 0}, 0) || withTag.fits([]byte{1, 1, 9, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, 0) {
		t.Error("4 billion tagged fields within a tagged field are let pass, or none are not")
	}
	elements := append([]byte{0x00, 0x10, 0x00, 0x00}, make([]byte, 4<<20)...)
	if metadataShape.fits(elements, 1) {
		t.Error("a million topics are let pass")
	}
}
