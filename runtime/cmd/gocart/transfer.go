package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func importCommand() *cobra.Command {
	var r remote
	var in openapi.ImportInput
	var kind, format, resume string
	var dry bool
	cmd := &cobra.Command{
		Use: "import --url URL --key-file FILE --kind KIND [--format FORMAT] FILE", Short: "Brings a file of records into a store", Args: cobra.ExactArgs(1),
		Long: "Sends a file in parts, and goes on where the store is when the connection was lost or a part was not taken. Says at the end which records " +
			"were refused, and why; then it ends with an error. Needs no configuration: it talks to any store.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in = openapi.ImportInput{Kind: openapi.TransferKind(kind), Format: openapi.TransferFormat(format), DryRun: &dry}
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			return importing{remote: r, file: file, out: cmd.OutOrStdout(), say: cmd.ErrOrStderr()}.run(cmd.Context(), in, resume)
		},
	}
	r.flags(cmd, "", "https://shop.example")
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "products", "what the file holds: `KIND` is categories, products, prices, stock, customers or orders")
	f.StringVar(&format, "format", "csv", "`FORMAT` of the file: csv, jsonl or shopify")
	f.BoolVar(&dry, "dry-run", false, "say what would become of each record, and change nothing")
	f.StringVar(&resume, "resume", "", "go on with the import of an `ID`")
	return cmd
}

// importing sends a file.
type importing struct {
	remote
	file     *os.File
	out, say io.Writer
}

func (i importing) run(ctx context.Context, in openapi.ImportInput, resume string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var at openapi.Import
	key := uuid.NewString() // so that it is begun once, also over a line that is lost
	err = persist(ctx, func() error {
		if resume == "" {
			return i.json(ctx, &at, "POST", "/imports", body, "Content-Type", "application/json", "Idempotency-Key", key)
		}
		return i.json(ctx, &at, "GET", "/imports/"+url.PathEscape(resume), nil)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(i.say, "import %s begins at byte %d\n", at.Id, at.Offset)
	info, err := i.file.Stat()
	if err != nil {
		return err
	}
	for failures := 0; at.State == openapi.ImportStateOpen; {
		before := at.Offset
		if err := i.part(ctx, &at, info.Size()); err == nil {
			if failures = 0; at.Offset != before {
				fmt.Fprintf(i.say, "%d of %d bytes\n", at.Offset, info.Size())
			}
			continue
		} else if failures++; failures > patience || !again(err) {
			return fmt.Errorf("%w\ngo on later with --resume %s", err, at.Id)
		} else if err := pause(ctx, failures); err != nil {
			return err
		}
		// What became of the part only the store knows.
		_ = i.json(ctx, &at, "GET", "/imports/"+at.Id.String(), nil)
	}
	return i.end(ctx, at)
}

// patience is how often in a row something is asked for again.
const patience = 10

// persist does something until it succeeds, or there is no use in it.
func persist(ctx context.Context, do func() error) error {
	for failures := 0; ; {
		err := do()
		if err == nil {
			return nil
		}
		if failures++; failures > patience || !again(err) {
			return err
		}
		if pause(ctx, failures) != nil {
			return err
		}
	}
}

// pause is longer after each failure, up to half a minute.
func pause(ctx context.Context, failures int) error {
	wait := time.NewTimer(min(100*time.Millisecond<<failures, 30*time.Second))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}

// again reports whether the same may be done if it is asked for once more.
func again(err error) bool {
	a, ok := errors.AsType[*answered](err)
	return !ok || a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests || a.code == "offset_mismatch"
}

// part sends the next part.
func (i importing) part(ctx context.Context, at *openapi.Import, size int64) error {
	data := make([]byte, min(transfer.MaxPart, max(0, size-at.Offset)))
	if _, err := i.file.ReadAt(data, at.Offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return i.json(ctx, at, "PATCH", "/imports/"+at.Id.String(), data, "Content-Type", "application/octet-stream",
		"Upload-Offset", strconv.FormatInt(at.Offset, 10), "Upload-Complete", strconv.FormatBool(at.Offset+int64(len(data)) >= size))
}

// end says what became of the records, and which were refused.
func (i importing) end(ctx context.Context, at openapi.Import) error {
	if at.DryRun {
		fmt.Fprintln(i.say, "a dry run: nothing was changed; it would be")
	}
	fmt.Fprintf(i.say, "%d rows: %d created, %d updated, %d unchanged, %d refused\n", at.Rows, at.Created, at.Updated, at.Unchanged, at.Refused)
	for cursor := ""; at.Refused > 0; {
		var list openapi.ImportRefusalList
		query := url.Values{"limit": {"100"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		path := "/imports/" + at.Id.String() + "/refusals?" + query.Encode()
		if err := persist(ctx, func() error { return i.json(ctx, &list, "GET", path, nil) }); err != nil {
			return err
		}
		for _, r := range list.Refusals {
			fmt.Fprintf(i.out, "row %d: %s: %s", r.Row, r.Code, r.Detail)
			for _, e := range r.Errors {
				fmt.Fprintf(i.out, " %s %s;", e.Pointer, e.Detail)
			}
			fmt.Fprintln(i.out)
		}
		if list.NextCursor == nil {
			break
		}
		cursor = *list.NextCursor
	}
	if at.Refused > 0 {
		return fmt.Errorf("%d records were refused", at.Refused)
	}
	return nil
}

func (r *remote) json(ctx context.Context, into any, method, path string, body []byte, headers ...string) error {
	text, _, err := r.ask(ctx, method, path, body, headers...)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func exportCommand() *cobra.Command {
	var r remote
	var format string
	cmd := &cobra.Command{
		Use: "export --url URL --key-file FILE [--format FORMAT] KIND", Short: "Writes a store's records to standard output", Args: cobra.ExactArgs(1),
		Long: "Asks for one part after another, and again for one that did not come whole. KIND is categories, products, prices, stock, customers or orders.",
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"format": {format}}
			path := "/exports/" + url.PathEscape(args[0]) + "?" + query.Encode()
			for failures := 0; path != ""; {
				text, next, err := r.ask(cmd.Context(), "GET", path, nil)
				if err != nil {
					if failures++; failures > patience || !again(err) {
						return err
					}
					if err := pause(cmd.Context(), failures); err != nil {
						return err
					}
					continue
				}
				failures = 0
				if _, err := cmd.OutOrStdout().Write(text); err != nil {
					return err
				}
				path = next
			}
			return nil
		},
	}
	r.flags(cmd, "", "https://shop.example")
	cmd.Flags().StringVar(&format, "format", "csv", "`FORMAT` of the file: csv or jsonl")
	return cmd
}
