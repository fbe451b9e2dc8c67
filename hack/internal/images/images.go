// Package images builds the project's container images: each is a Dockerfile
// in hack/images/NAME that starts FROM scratch, over a context that this
// package fills with static Go programs, files of Debian packages and the
// shared libraries those need. The result is an OCI archive that is the same
// bytes for the same inputs, and is left alone while the inputs stay the same.
//
// It uses the standard library, buildah (or Docker where buildah cannot be
// had), and Debian's apt-get and dpkg-deb; packages are downloaded and
// unpacked, never installed. Product code never imports it.
package images

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Image says what goes into one image beside its Dockerfile.
type Image struct {
	// Name is the repository part of the reference and the folder under
	// hack/images.
	Name string
	// Programs are built and put at their targets.
	Programs []Program
	// Modules are files that a pinned module ships.
	Modules []ModuleFiles
	// Debian are files of Debian packages, with their shared libraries.
	Debian *Debian
	// Tags are fixed tags. An image of ours has none: it is tagged by the
	// caller, and carries that tag as its version.
	Tags []string
	// VersionOf is the Debian package or the hack/tools program whose version
	// is one more tag.
	VersionOf string
	// Passwd is a line of /etc/passwd, for programs that look themselves up.
	Passwd string
	// Folders are there, owned by root, before the Dockerfile puts one that
	// the user owns into them.
	Folders []string
}

// Program is a main package: of this module (Package) or of the tool table
// (Tool).
type Program struct {
	Target  string // absolute path in the image
	Package string
	Tool    string
}

// ModuleFiles copies a folder of a module that hack/tools/In pins.
type ModuleFiles struct {
	In, Module, From, Target string
}

// Debian is a set of packages and what to take from them.
type Debian struct {
	// Packages are downloaded with the libraries they depend on.
	Packages []string
	// Files are taken with their shared libraries: a file or a folder by its
	// path, or "path -> other path" to rename it.
	Files []string
	// Skip leaves out what these match, by path.
	Skip *regexp.Regexp
}

// versionPackage holds the variable that names the version of our programs.
const versionPackage = "gitee.com/captainjez/gocart/runtime/version"

// DefaultTag is the tag of an image of ours when the caller names none.
const DefaultTag = "dev"

// locale is C.UTF-8, the one locale that the C library's own package brings.
const locale = "usr/lib/locale/C.utf8"

var table = []Image{
	{
		Name:     "gocart-operator",
		Programs: []Program{{Target: "/manager", Package: "./controllers/manager"}},
	},
	{
		Name:     "gocart-runtime",
		Programs: []Program{{Target: "/gocart", Package: "./runtime/cmd/gocart"}},
	},
	{
		// For the e2e suite: the runtime, but its migration always fails.
		Name: "gocart-runtime-badmigration",
		Programs: []Program{
			{Target: "/gocart", Package: "./hack/images/gocart-runtime-badmigration/wrapper"},
			{Target: "/gocart.real", Package: "./runtime/cmd/gocart"},
		},
	},
	{
		// For demonstrations and the e2e suite.
		Name:     "mailbox",
		Programs: []Program{{Target: "/mailbox", Package: "./hack/images/mailbox/server"}},
	},
	{
		// For the e2e suite: what Stripe gives for trying.
		Name:     "stripe-mock",
		Programs: []Program{{Target: "/stripe-mock", Tool: "stripe-mock"}},
	},
	{
		Name:      "postgres",
		Tags:      []string{"15"},
		VersionOf: "postgresql-15",
		Programs:  []Program{{Target: "/usr/local/bin/docker-entrypoint", Package: "./hack/images/postgres/entrypoint"}},
		Passwd:    "postgres:x:999:999::/var/lib/postgresql:/bin/sh",
		Folders:   []string{"/var/lib/postgresql", "/var/run"},
		Debian: &Debian{
			Packages: []string{"postgresql-15", "postgresql-client-15", "tzdata", "libc-bin", "dash", "libnss-wrapper"},
			Files: []string{
				"usr/lib/postgresql/15/bin",
				"usr/lib/postgresql/15/lib",
				"usr/share/postgresql/15",
				"usr/share/zoneinfo",
				locale,
				// initdb and pg_ctl start the server through popen and system.
				"bin/dash -> bin/sh",
				// For a user id that /etc/passwd does not list.
				"usr/lib/$TRIPLET/libnss_wrapper.so -> usr/lib/libnss_wrapper.so",
			},
			// LLVM is a hundred megabytes for compiling long queries; the
			// server goes without when the provider is not there.
			Skip: regexp.MustCompile(`/bitcode/|llvmjit|/zoneinfo/(right|posix)/|/man/|/pgxs/`),
		},
	},
	{
		Name:      "redis",
		Tags:      []string{"7"},
		VersionOf: "redis-tools",
		Programs:  []Program{{Target: "/usr/local/bin/docker-entrypoint", Package: "./hack/images/redis/entrypoint"}},
		Passwd:    "redis:x:999:999::/data:/nonexistent",
		Debian: &Debian{
			Packages: []string{"redis-tools"},
			Files: []string{
				// The server and its checker are one program.
				"usr/bin/redis-check-rdb -> usr/local/bin/redis-server",
				"usr/bin/redis-cli -> usr/local/bin/redis-cli",
			},
		},
	},
	{
		Name:      "bind9",
		VersionOf: "bind9",
		Programs:  []Program{{Target: "/entrypoint", Package: "./hack/images/bind9/entrypoint"}},
		Passwd:    "bind:x:101:101::/var/cache/bind:/nonexistent",
		Folders:   []string{"/var/cache"},
		Debian: &Debian{
			Packages: []string{"bind9", "bind9-dnsutils", "bind9-host"},
			Files:    []string{"usr/sbin/named", "usr/bin/nsupdate", "usr/bin/dig"},
		},
	},
	{
		Name:      "haproxy-ingress",
		VersionOf: "haproxy-ingress",
		Programs: []Program{
			{Target: "/haproxy-ingress", Tool: "haproxy-ingress"},
			{Target: "/entrypoint", Package: "./hack/images/haproxy-ingress/entrypoint"},
		},
		Passwd: "haproxy:x:99:99::/var/lib/haproxy:/nonexistent",
		Modules: []ModuleFiles{
			{In: "haproxy-ingress", Module: "github.com/jcmoraisjr/haproxy-ingress", From: "rootfs/etc/lua", Target: "/etc/lua"},
			{In: "haproxy-ingress", Module: "github.com/jcmoraisjr/haproxy-ingress", From: "rootfs/etc/templates", Target: "/etc/templates"},
		},
		Debian: &Debian{
			Packages: []string{"haproxy", "lua-json"},
			// The controller's Lua files read JSON.
			Files: []string{"usr/sbin/haproxy", "usr/share/lua/5.3", "usr/lib/$TRIPLET/lua/5.3"},
		},
	},
	{
		Name:      "cert-manager",
		VersionOf: "cert-manager",
		Programs:  []Program{{Target: "/controller", Tool: "cert-manager"}},
	},
	{
		Name:      "cert-manager-acmesolver",
		VersionOf: "acmesolver",
		Programs:  []Program{{Target: "/acmesolver", Tool: "acmesolver"}},
	},
	{
		Name:      "pebble",
		VersionOf: "pebble",
		Programs:  []Program{{Target: "/pebble", Tool: "pebble"}},
	},
}

// All returns the table.
func All() []Image { return slices.Clone(table) }

// Named finds an image in the table.
func Named(name string) (Image, error) {
	for _, image := range table {
		if image.Name == name {
			return image, nil
		}
	}
	names := make([]string, 0, len(table))
	for _, image := range table {
		names = append(names, image.Name)
	}
	slices.SortFunc(names, cmp.Compare)
	return Image{}, fmt.Errorf("no image is named %q; there are %s", name, strings.Join(names, ", "))
}

// Ours says whether the image is a product of this repository, which is tagged
// by who builds it.
func (i Image) Ours() bool { return len(i.Tags) == 0 && i.VersionOf == "" }

var notInATag = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// tagOf makes a version fit for a tag: a Debian version holds "+", "~" and ":".
func tagOf(version string) string {
	if _, rest, epoch := strings.Cut(version, ":"); epoch {
		version = rest
	}
	return notInATag.ReplaceAllString(version, "_")
}
