package plan

// DefaultEpoch is the mtime of every member of a slug when SOURCE_DATE_EPOCH says nothing:
// 2000-01-01T00:00:00Z. It is never git's: a new commit with the same tree is the same slug.
// It lies after 1980 because zip cannot store earlier times, and apps do zip what they ship.
const DefaultEpoch int64 = 946_684_800
