package render

// Postfix makes the files of this service.
func Postfix(in *Input) []File { return nil }
