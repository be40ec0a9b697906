// Package observe looks at the world for a plan: the source tree and git, the tools of this
// machine, the store, and the platform. What it saw it returns as data.
//
// It changes nothing but the store's notes of files that were hashed before. It decides
// nothing either: which questions are open is said by plan.Keys, what the answers mean by
// plan.Build.
package observe
