package tree

// Withheld is a path of the source tree that stays out of the slug and of the steps.
type Withheld struct {
	Path string `json:"path"`
	// Rule says why: `deny list: .env`, `.slugignore:3: *.log`.
	Rule string `json:"rule"`
}
