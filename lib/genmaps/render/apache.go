package render

// Apache makes the files of this service.
func Apache(in *Input) []File { return nil }
