// Package repocheck has tests only: that packages import what they may, that mutexes and documents keep to the rules of
// docs/locks.md, that what the documents name exists, and that their code compiles. They run in the repository's root.
package repocheck
