// Package fetch is the first stage: it brings the runtimes into the store, verified, and
// unpacked for the steps that see them or packed for the slug alone.
//
// Bytes are checked against their digest on every way: from the origin, from a mirror, from
// the repository, from the store, after a resumed download. Only then is an archive opened.
// Pin is the other half, for "slugfile lock": it finds out which bytes an address has. The
// package never decides what is needed, never writes slug.lock, sends no credentials, no
// cookies and no referrer, and follows redirects by itself.
package fetch
