package render

// DNS makes the files of this service.
func DNS(in *Input) []File { return nil }
