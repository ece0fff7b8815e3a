package backup

// WithoutPassword takes the password out of a connection string.
func WithoutPassword(dsn string) (rest, password string) { return withoutPassword(dsn) }
