package bpmn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// toUTF8 takes off a byte order mark and converts UTF-16, which the XML decoder
// cannot begin to read. Other encodings are the XML declaration's business.
func toUTF8(data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:], nil
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("<\x00?\x00")):
		return decode(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), data)
	case bytes.HasPrefix(data, []byte("\xfe\xff")), bytes.HasPrefix(data, []byte("\x00<\x00?")):
		return decode(unicode.UTF16(unicode.BigEndian, unicode.UseBOM), data)
	}
	return data, nil
}

// decodeCharset reads on in the encoding that an XML declaration names. A file
// that was UTF-16 has been converted already, whatever its declaration says.
func decodeCharset(label string, in io.Reader, converted bool) (io.Reader, error) {
	if converted || strings.HasPrefix(strings.ToLower(label), "utf-16") {
		if !converted {
			return nil, errors.New("encoding utf-16 is declared, but the file is not UTF-16")
		}
		return in, nil
	}
	enc, err := htmlindex.Get(label)
	if err != nil {
		return nil, fmt.Errorf("encoding %q is not known; save the file as UTF-8", label)
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	text, err := decode(enc, data)
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(text), nil
}

// decode refuses bytes that the encoding has no character for; decoders put
// U+FFFD there, and a silently changed model would be deployed.
func decode(enc encoding.Encoding, data []byte) ([]byte, error) {
	text, err := enc.NewDecoder().Bytes(data)
	if err != nil {
		return nil, err
	}
	if bytes.ContainsRune(text, '\ufffd') {
		return nil, fmt.Errorf("has bytes that are not valid in its encoding")
	}
	return text, nil
}
