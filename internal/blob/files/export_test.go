package files

// Before makes fail what fault says, before it is done. The steps are create,
// write, sync, mkdir, rename and remove.
func (s *Store) Before(fault func(step, path string) error) { s.testingOnlyBefore = fault }
