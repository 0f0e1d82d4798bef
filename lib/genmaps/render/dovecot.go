package render

// Dovecot makes the files of this service.
func Dovecot(in *Input) []File { return nil }
