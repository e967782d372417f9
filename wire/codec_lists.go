package wire

// Lists: the elements of a message that come any number of times.

// list enters an array whose elements take at least minBytes each; a count that cannot be true
// is refused before anything is allocated for it.
func (d *Decoder) list(minBytes int) (n, outer int) {
	n, outer = d.open()
	if rest := len(d.in.b) - d.in.at; n > rest/minBytes {
		d.fail(malformed("%d elements in %d bytes", n, rest))
		return 0, outer
	}
	return n, outer
}

// listOf reads an array whose elements take at least minBytes each, one after the other.
func listOf[T any](d *Decoder, minBytes int, element func(*Decoder) T) []T {
	n, outer := d.list(minBytes)
	list := make([]T, n)
	for i := range list {
		list[i] = element(d)
	}
	d.close(outer)
	return list
}

// structs reads an array of structs, which take at least minBytes each. It enters and leaves them; fields reads what is in one.
func structs[T any](d *Decoder, minBytes int, fields func(*T)) []T {
	n, outer := d.list(minBytes)
	list := make([]T, n)
	for i := range list {
		_, one := d.open()
		fields(&list[i])
		d.close(one)
	}
	d.close(outer)
	return list
}

// orNil makes nil of an empty list, where the two mean the same.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func (e *Encoder) failures(errs []error) {
	e.array(len(errs))
	for _, err := range errs {
		e.failure(err)
	}
}

func (d *Decoder) failures() []error { return listOf(d, 1, (*Decoder).failure) }

func (e *Encoder) strings(list []string) {
	e.array(len(list))
	for _, s := range list {
		e.string(s)
	}
}

func (d *Decoder) strings() []string { return orNil(listOf(d, 1, (*Decoder).string)) }

func (e *Encoder) brokers(ids []BrokerID) {
	e.array(len(ids))
	for _, id := range ids {
		e.int(int64(id))
	}
}

func (d *Decoder) brokers() []BrokerID { return orNil(listOf(d, 1, integer[BrokerID])) }

func (e *Encoder) partitions(list []int32) {
	e.array(len(list))
	for _, p := range list {
		e.int(int64(p))
	}
}

func (d *Decoder) partitions() []int32 { return orNil(listOf(d, 1, integer[int32])) }
