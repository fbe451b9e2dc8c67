// Package version holds the version that a build of GoCart reports.
package version

// Version is set when a binary is built, with
// -ldflags "-X gitee.com/captainjez/gocart/runtime/version.Version=...".
var Version = "dev"
