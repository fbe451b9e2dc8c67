package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// wrapper answers who a user is from files that NSS_WRAPPER_* name.
const wrapper = "/usr/lib/libnss_wrapper.so"

// nameUser makes a name for a user id that /etc/passwd does not list: initdb
// and libpq refuse to run for a user without one. The environment of this
// process carries it on.
func nameUser(uid, gid int) error {
	_, err := user.LookupId(strconv.Itoa(uid))
	var unknown user.UnknownUserIdError
	if !errors.As(err, &unknown) {
		return nil
	}
	if _, err := os.Stat(wrapper); err != nil {
		return fmt.Errorf("%s is not here", wrapper)
	}
	dir, err := os.MkdirTemp("", "user-")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"passwd": fmt.Sprintf("postgres:x:%d:%d::/var/lib/postgresql:/bin/sh\n", uid, gid),
		"group":  fmt.Sprintf("postgres:x:%d:\n", gid),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{
		"LD_PRELOAD":         wrapper,
		"NSS_WRAPPER_PASSWD": filepath.Join(dir, "passwd"),
		"NSS_WRAPPER_GROUP":  filepath.Join(dir, "group"),
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}
