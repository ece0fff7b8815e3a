package backup

// WithoutPassword takes the password out of a connection string.
func WithoutPassword(dsn string) (rest, password string) { return withoutPassword(dsn) }

// Authenticated returns a manifest with the MAC that its deployment gives it.
func Authenticated(m Manifest, key []byte) (Manifest, error) {
	var err error
	m.MAC, err = m.mac(key)
	return m, err
}

// Encoded returns the text of a manifest.
func Encoded(m Manifest) ([]byte, error) { return m.encode() }
