package hsm

import (
	"crypto/rand"

	"github.com/miekg/pkcs11"
)

func gcm(params *pkcs11.GCMParams) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
}

// seal encrypts a text with AES-GCM in the token, which draws the nonce itself if
// it is told to. All zeros come back from one that does not.
func (s *session) seal(key pkcs11.ObjectHandle, tokenNonce bool, bound, text []byte) (nonce, sealed []byte, err error) {
	nonce = make([]byte, nonceSize)
	if !tokenNonce {
		rand.Read(nonce)
	}
	params := pkcs11.NewGCMParams(nonce, bound, tagSize*8)
	defer params.Free()
	if err := s.module.EncryptInit(s.handle, gcm(params), key); err != nil {
		return nil, nil, err
	}
	if sealed, err = s.module.Encrypt(s.handle, text); err != nil {
		return nil, nil, err
	}
	if tokenNonce {
		nonce = params.IV()
	}
	return nonce, sealed, nil
}

// open decrypts what seal encrypted.
func (s *session) open(key pkcs11.ObjectHandle, nonce, bound, sealed []byte) ([]byte, error) {
	params := pkcs11.NewGCMParams(nonce, bound, tagSize*8)
	defer params.Free()
	if err := s.module.DecryptInit(s.handle, gcm(params), key); err != nil {
		return nil, err
	}
	return s.module.Decrypt(s.handle, sealed)
}
