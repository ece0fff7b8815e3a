package hsm

import (
	"encoding/binary"
	"slices"

	"github.com/google/uuid"
	"github.com/miekg/pkcs11"

	"github.com/underseal/underseal/internal/fault"
)

// A version of the root key is an object of the token, an AES key with the label
// of the root key and the CKA_ID
//
//	root key id 16 | version 4
//
// A version that was destroyed is a data object with that label and value: a key
// that is gone on purpose is told from one that is missing.
const (
	idSize = 16 + 4
	// application is the CKA_APPLICATION of the marks.
	application = "underseal: destroyed version"
)

// codeMissing is the code when the token has no object of the label.
const codeMissing = "root_key_missing"

type version struct {
	number    uint32
	handle    pkcs11.ObjectHandle // of the key, 0 when there is none
	destroyed bool                // there is a mark
}

// versions are all of one root key, in order.
type versions struct {
	id   uuid.UUID
	all  []version
	last uint32 // highest number
}

// newest returns the highest version that is there.
func (v *versions) newest() (version, bool) {
	for _, one := range slices.Backward(v.all) {
		if one.handle != 0 && !one.destroyed {
			return one, true
		}
	}
	return version{}, false
}

// find returns the version that a wrapped key names.
func (v *versions) find(k *RootKey, id uuid.UUID, number uint32) (version, error) {
	if id != v.id {
		return version{}, fault.New(fault.Conflict, "unwrap key: it was wrapped under root key %s, and this is %s", id, v.id).WithCode("other_root_key")
	}
	if number == 0 || number > v.last {
		return version{}, fault.New(fault.Integrity, "unwrap key: it names version %d of %s, which never was", number, k)
	}
	i := slices.IndexFunc(v.all, func(one version) bool { return one.number == number })
	switch {
	case i >= 0 && v.all[i].destroyed:
		return version{}, fault.New(fault.NotFound, "unwrap key: version %d of %s was destroyed", number, k).WithCode("root_key_destroyed")
	case i < 0:
		// Somebody removed it in the token, or restored the token without it.
		return version{}, fault.New(fault.Denied, "unwrap key: version %d of %s is missing, and nobody marked it as destroyed", number, k).
			WithHint("restore the key object from the token's backup")
	}
	return v.all[i], nil
}

// versions reads which versions there are. Denied when there are none: the token
// answered, and the key is not there.
func (k *RootKey) versions(s *session) (*versions, error) {
	keys, err := s.find([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label),
	}, pkcs11.CKA_ID)
	if err != nil {
		return nil, err
	}
	marks, err := s.find([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label),
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, application),
	}, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	if len(keys)+len(marks) == 0 {
		return nil, fault.New(fault.Denied, "token %s has no key labeled %q", k.token.label, k.label).WithCode(codeMissing).
			WithHint("make it with underseal-pkcs11 init, or name the right one with --token and --key")
	}
	v := &versions{}
	for _, one := range keys {
		err = v.add(k, one.value, func(v *version) { v.handle = one.handle })
		if err != nil {
			return nil, err
		}
	}
	for _, one := range marks {
		if err := v.add(k, one.value, func(v *version) { v.destroyed = true }); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(v.all, func(a, b version) int { return int(int64(a.number) - int64(b.number)) })
	return v, nil
}

// add takes note of one object.
func (v *versions) add(k *RootKey, id []byte, note func(*version)) error {
	if len(id) != idSize || v.last > 0 && uuid.UUID(id[:16]) != v.id {
		return fault.New(fault.Conflict, "%s: another key has the same label", k).WithHint("give each root key a label of its own")
	}
	v.id = uuid.UUID(id[:16])
	number := binary.BigEndian.Uint32(id[16:])
	v.last = max(v.last, number)
	i := slices.IndexFunc(v.all, func(one version) bool { return one.number == number })
	if i < 0 {
		i, v.all = len(v.all), append(v.all, version{number: number})
	}
	note(&v.all[i])
	return nil
}

// generate has the token make a version.
func (k *RootKey) generate(s *session, id uuid.UUID, number uint32) error {
	_, err := s.module.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, header(id, number)[1:]),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
	})
	return failed("make a key", err)
}

// destroy marks a version, then removes its key.
func (k *RootKey) destroy(s *session, all *versions, number uint32) error {
	i := slices.IndexFunc(all.all, func(one version) bool { return one.number == number })
	if i < 0 || !all.all[i].destroyed {
		_, err := s.module.CreateObject(s.handle, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label),
			pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, application),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE, header(all.id, number)[1:]),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		})
		if err != nil {
			return failed("mark a key as destroyed", err)
		}
	}
	if i < 0 || all.all[i].handle == 0 {
		return nil
	}
	return failed("destroy a key", s.module.DestroyObject(s.handle, all.all[i].handle))
}
