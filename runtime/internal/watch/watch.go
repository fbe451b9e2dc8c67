// Package watch reads files again when they change, as a Kubernetes volume
// does: by a symlink that is swapped in their folder.
package watch

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollInterval is how soon a change is seen where no event tells of it.
const pollInterval = 30 * time.Second

// Files calls read at once, and whenever something changed in a folder of the
// paths, until ctx ends. It may call it when nothing did.
func Files(ctx context.Context, log *slog.Logger, read func(), paths ...string) {
	var events chan fsnotify.Event
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer func() { _ = watcher.Close() }()
		events = watcher.Events
		for _, path := range paths {
			err = errors.Join(err, watcher.Add(filepath.Dir(path)))
		}
	}
	if err != nil {
		log.Warn("files are looked at from time to time only", "files", paths, "interval", pollInterval.String(), "error", err)
	}
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		read() // before the first wait, for what happened until the watch began
		select {
		case <-ctx.Done():
			return
		case <-events:
		case <-poll.C:
		}
	}
}
