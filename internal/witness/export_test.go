package witness

// Disk and File stand in for the state directory.
type (
	Disk = disk
	File = file
)

// OpenOn opens a witness whose state is on d, without locking it.
func OpenOn(cfg Config, d Disk) (*Witness, error) { return open(cfg, d) }

// ParseKey reads the text of a key file.
func ParseKey(text string) (*Key, error) { return parseKey(text) }
