package local

// emptyList is for kinds of things that no app here has.
func (p *Platform) emptyList(c *call) (answer, error) {
	if _, err := p.findApp(c.PathValue("app")); err != nil {
		return answer{}, err
	}
	return ok([]empty{})
}

// nothing is for kinds of things that the account here has none of.
func (p *Platform) nothing(*call) (answer, error) { return ok([]empty{}) }

// noSpace is what `heroku apps --space` is told.
func (p *Platform) noSpace(*call) (answer, error) {
	return answer{}, notFound("space", "Couldn't find that space: the embedded platform has no Private Spaces.")
}
