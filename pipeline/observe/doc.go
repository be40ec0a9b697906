// Package observe looks at the world for a plan: the source tree and git, the tools of this
// machine, the store, and the platform. It looks at earlier states too, that a plan can be
// compared with: a git revision, which it never checks out, and an earlier release. What it saw
// it returns as data.
//
// It changes nothing but the store's notes: of files and blobs that were hashed before, and of
// what is in a slug that was read from the platform, which itself is not kept. It decides
// nothing either: which questions are open is said by plan.Keys, what the answers mean by
// plan.Build.
package observe
