package gogotest

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"time"
)

// filler sets fields to random values, in messages as deep as depth.
type filler struct {
	*rand.Rand
	wrappers []reflect.Type // of the members of oneofs
}

func (r filler) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.IntN(1000) - 100))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(r.Float64())
	case reflect.String:
		v.SetString(strings.Repeat("s", r.IntN(20)))
	case reflect.Struct:
		r.fillStruct(v, depth)
	case reflect.Array:
		for i := range v.Len() {
			r.fill(v.Index(i), depth)
		}
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		if depth > 0 && r.IntN(4) > 0 {
			r.fillParts(v, depth-1)
		}
	}
}

func (r filler) fillStruct(v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1e10), r.Int64N(1e9)).UTC()))
		return
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !strings.HasPrefix(f.Name, "XXX_") {
			r.fill(v.Field(i), depth)
		}
	}
}

func (r filler) fillParts(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(r.made(v.Type(), depth))
	case reflect.Slice:
		n := r.IntN(3)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			n *= 16 // custom types are that long
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			v.Index(i).Set(r.made(v.Type().Elem(), depth))
		}
	case reflect.Map: // of one element, so that its order is known
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(r.made(v.Type().Key(), depth), r.made(v.Type().Elem(), depth))
	case reflect.Interface:
		for _, i := range r.Perm(len(r.wrappers)) {
			if wrapper := r.wrappers[i]; wrapper.Implements(v.Type()) {
				v.Set(r.made(wrapper, depth))
				if member := v.Elem().Elem().Field(0); member.Kind() == reflect.Pointer { // gogo expects no nil
					member.Set(r.made(member.Type(), depth))
				}
				return
			}
		}
	}
}

// made returns a value of type t that is no nil.
func (r filler) made(t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	if t.Kind() == reflect.Pointer {
		v.Set(reflect.New(t.Elem()))
		r.fill(v.Elem(), depth)
		return v
	}
	r.fill(v, depth)
	return v
}
