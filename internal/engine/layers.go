package engine

import (
	"context"
	"fmt"

	"github.com/underseal/underseal/envelope"
)

// An envelope takes four keys, and the first is the object's own. A field about
// more persons is sealed in layers, each under the object's key and those of up
// to three persons, one around the other: without any one of the keys it does
// not open. What an envelope is asked to seal begins with "[" or, if it is a
// layer, with F5, so the two cannot be mistaken for each other.
const (
	personsPerLayer = 3
	// maxPersons bounds the layers; a list of more persons has to be split.
	maxPersons = 300
	// maxField is the size of the largest field, and layerSize what each layer
	// besides the outermost takes of it.
	maxField  = envelope.MaxPlaintext
	layerSize = 200
)

// layers splits keys, the object's own first, into those of each layer, outermost
// first.
func layers(keys []envelope.Key) [][]envelope.Key {
	owner, persons := keys[0], keys[1:]
	list := [][]envelope.Key{append([]envelope.Key{owner}, persons[:min(personsPerLayer, len(persons))]...)}
	for start := personsPerLayer; start < len(persons); start += personsPerLayer {
		list = append(list, append([]envelope.Key{owner}, persons[start:min(start+personsPerLayer, len(persons))]...))
	}
	return list
}

// layerClass is the class of a layer's context, counted from the outermost.
func layerClass(i int) string {
	if i == 0 {
		return "field"
	}
	return fmt.Sprintf("field/%d", i)
}

// sealField seals a field's bytes under all its keys.
func (e *Engine) sealField(o *object, keys []envelope.Key, shard, path string, seq uint64, plain []byte) ([]byte, error) {
	list := layers(keys)
	for i := len(list) - 1; i >= 0; i-- {
		var err error
		if plain, err = envelope.Seal(list[i], e.context(o, shard, layerClass(i), path, seq), plain); err != nil {
			return nil, err
		}
	}
	return plain, nil
}

// openSealed opens a field that is sealed under exactly these keys.
func (e *Engine) openSealed(o *object, keys []envelope.Key, shard, path string, seq uint64, sealed []byte) ([]byte, error) {
	for i, layer := range layers(keys) {
		var err error
		if sealed, err = envelope.Open(layer, e.context(o, shard, layerClass(i), path, seq), sealed); err != nil {
			return nil, err
		}
	}
	return sealed, nil
}

// openNamed opens a field by the keys that its envelopes name, and returns these
// in the order in which they were given to sealField.
func (e *Engine) openNamed(ctx context.Context, o *object, shard, path string, seq uint64, sealed []byte) ([]envelope.Key, []byte, error) {
	owner, err := e.ownerAt(ctx, o, seq)
	if err != nil {
		return nil, nil, err
	}
	keys := []envelope.Key{owner}
	for i := 0; i == 0 || envelope.IsSealed(sealed); i++ {
		ids, err := envelope.KeyIDs(sealed)
		if err != nil {
			return nil, nil, err
		}
		layer := []envelope.Key{owner}
		for _, id := range ids[1:] {
			key, err := e.ring.Key(ctx, o.scope.Tenant(), id)
			if err != nil {
				return nil, nil, err
			}
			layer = append(layer, key)
		}
		if sealed, err = envelope.Open(layer, e.context(o, shard, layerClass(i), path, seq), sealed); err != nil {
			return nil, nil, err
		}
		keys = append(keys, layer[1:]...)
	}
	return keys, sealed, nil
}
