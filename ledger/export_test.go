package ledger

import "slices"

// TestingBundle is a bundle's file whose parts a test changes; Encode writes a
// manifest that fits.
type TestingBundle struct{ parts []part }

func TestingParts(data []byte) (*TestingBundle, error) {
	parts, err := readZip(data)
	if err != nil {
		return nil, err
	}
	return &TestingBundle{slices.Clone(parts[1:])}, nil
}

func (b *TestingBundle) Encode() []byte {
	var named []part
	for _, p := range b.parts { // a manifest names each part once
		if !slices.ContainsFunc(named, func(n part) bool { return n.name == p.name }) {
			named = append(named, p)
		}
	}
	return writeZip(append([]part{{manifestName, manifest(named)}}, b.parts...))
}

func (b *TestingBundle) find(name string) int {
	return slices.IndexFunc(b.parts, func(p part) bool { return p.name == name })
}

func (b *TestingBundle) Get(name string) []byte { return b.parts[b.find(name)].data }

// Set changes a part, or puts a new one at the end.
func (b *TestingBundle) Set(name string, data []byte) {
	if i := b.find(name); i >= 0 {
		b.parts[i].data = data
		return
	}
	b.Insert(len(b.parts), name, data)
}

func (b *TestingBundle) Insert(i int, name string, data []byte) {
	b.parts = slices.Insert(b.parts, i, part{name, data})
}

func (b *TestingBundle) Delete(name string) {
	i := b.find(name)
	b.parts = slices.Delete(b.parts, i, i+1)
}

func (b *TestingBundle) Rename(old, name string) { b.parts[b.find(old)].name = name }

func (b *TestingBundle) Swap(i, j int) { b.parts[i], b.parts[j] = b.parts[j], b.parts[i] }

func (b *TestingBundle) Names() (names []string) {
	for _, p := range b.parts {
		names = append(names, p.name)
	}
	return names
}
