package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The few parts of the zip format (APPNOTE.TXT 4.3) that a bundle has: entries
// stored as they are, one after the other, all with the same time, no comments.
const (
	zipEntry     = "PK\x03\x04"
	zipDirectory = "PK\x01\x02"
	zipEnd       = "PK\x05\x06"
	zipVersion   = 10     // 1.0: nothing but stored files
	zipDate      = 0x0021 // 1980-01-01, the earliest there is

	entrySize     = 30
	directorySize = 46
)

// part is one file in a bundle.
type part struct {
	name string
	data []byte
}

// writeZip returns the one zip file of the parts, in their order.
func writeZip(parts []part) []byte {
	var out, directory []byte
	le := binary.LittleEndian
	for _, p := range parts {
		// version, flags, method, time, date, checksum, two sizes, length of the name, of the extra field
		head := le.AppendUint16(nil, zipVersion)
		head = append(head, 0, 0, 0, 0, 0, 0)
		head = le.AppendUint16(head, zipDate)
		head = le.AppendUint32(head, crc32.ChecksumIEEE(p.data))
		head = le.AppendUint32(head, uint32(len(p.data)))
		head = le.AppendUint32(head, uint32(len(p.data)))
		head = le.AppendUint16(head, uint16(len(p.name)))
		head = le.AppendUint16(head, 0)

		directory = le.AppendUint16(append(directory, zipDirectory...), zipVersion)
		directory = append(directory, head...)
		directory = append(directory, make([]byte, 10)...) // comment, disk, attributes
		directory = append(le.AppendUint32(directory, uint32(len(out))), p.name...)

		out = append(append(append(out, zipEntry...), head...), p.name...)
		out = append(out, p.data...)
	}
	end := append([]byte(zipEnd), 0, 0, 0, 0) // disks
	end = le.AppendUint16(end, uint16(len(parts)))
	end = le.AppendUint16(end, uint16(len(parts)))
	end = le.AppendUint32(end, uint32(len(directory)))
	end = le.AppendUint32(end, uint32(len(out)))
	end = le.AppendUint16(end, 0)
	return append(append(out, directory...), end...)
}

// readZip returns the parts of a zip file that writeZip wrote. It believes only
// names and sizes; whether all else is as it must be, writing the parts again says.
func readZip(data []byte) ([]part, error) {
	var parts []part
	for bytes.HasPrefix(data, []byte(zipEntry)) {
		if len(data) < entrySize {
			return nil, fmt.Errorf("it ends within an entry")
		}
		size := uint64(binary.LittleEndian.Uint32(data[18:]))
		name := uint64(binary.LittleEndian.Uint16(data[26:]))
		if uint64(len(data)-entrySize) < name+size {
			return nil, fmt.Errorf("it ends within an entry")
		}
		if len(parts) == maxParts {
			return nil, fmt.Errorf("it has more than %d parts", maxParts)
		}
		data = data[entrySize:]
		parts = append(parts, part{string(data[:name]), data[name : name+size]})
		data = data[name+size:]
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("it is no zip file")
	}
	return parts, nil
}
