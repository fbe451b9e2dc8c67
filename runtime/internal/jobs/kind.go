package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
)

// Kind is what a job of a name does.
type Kind struct {
	// About says what it does, in a line for people.
	About string
	// Timeout bounds an attempt; 5 minutes where it is 0.
	Timeout time.Duration
	// Every has the store itself enqueue one, without a payload, as often as
	// this, however many workers there are; 0 for never.
	Every time.Duration

	name     string
	opts     river.InsertOpts
	schema   *jsonschema.Schema
	decode   func(payload []byte) (river.JobArgs, error)
	register func(*river.Workers) error
	empty    river.JobArgs
}

// defaultTimeout is that of a kind that names none.
const defaultTimeout = 5 * time.Minute

// Args are what a job is given. Its type says the kind's name and, by
// InsertOpts, its queue and how often a job is tried.
type Args interface {
	river.JobArgs
	river.JobArgsWithInsertOpts
}

// Checked are arguments that have rules beyond their types. Its errors are
// *problem.Problem.
type Checked interface{ Check() error }

// written are types whose JSON is not what their Go says.
var written = map[reflect.Type]*jsonschema.Schema{reflect.TypeFor[uuid.UUID](): {Type: "string", Format: "uuid"}}

// Of makes a kind whose jobs have arguments of a type and are worked by a
// function.
func Of[A Args](k Kind, work func(context.Context, *river.Job[A]) error) Kind {
	var none A
	k.name, k.opts, k.empty = none.Kind(), none.InsertOpts(), none
	if k.Timeout == 0 {
		k.Timeout = defaultTimeout
	}
	var err error
	if k.schema, err = jsonschema.For[A](&jsonschema.ForOptions{TypeSchemas: written}); err != nil { // its type is at fault
		panic(fmt.Sprintf("kind %s: %v", k.name, err))
	}
	k.decode = func(payload []byte) (river.JobArgs, error) {
		var args A
		if err := strictjson.Unmarshal(payload, &args); err != nil {
			return nil, err
		}
		if c, ok := any(args).(Checked); ok {
			if err := c.Check(); err != nil {
				return nil, err
			}
		}
		return args, nil
	}
	k.register = func(workers *river.Workers) error {
		return river.AddWorkerSafely(workers, &worker[A]{work: work, timeout: k.Timeout})
	}
	return k
}

// Name is the kind's name.
func (k *Kind) Name() string { return k.name }

// Queue is the queue of its jobs.
func (k *Kind) Queue() string { return k.opts.Queue }

// MaxAttempts is how often a job is tried.
func (k *Kind) MaxAttempts() int { return k.opts.MaxAttempts }

// Schema describes the payload, as JSON Schema.
func (k *Kind) Schema() *jsonschema.Schema { return k.schema }

// worker works jobs of one kind.
type worker[A Args] struct {
	river.WorkerDefaults[A]
	work    func(context.Context, *river.Job[A]) error
	timeout time.Duration
}

func (w *worker[A]) Work(ctx context.Context, job *river.Job[A]) error { return w.work(ctx, job) }

// Timeout is the job's own, or its kind's.
func (w *worker[A]) Timeout(job *river.Job[A]) time.Duration {
	if own := metadataOf(job.Metadata).Timeout; own > 0 {
		return own
	}
	return w.timeout
}

// Kinds are the kinds of a store's jobs.
type Kinds []Kind

// Find is the kind of a name; its error names those that there are.
func (all Kinds) Find(name string) (*Kind, error) {
	i := slices.IndexFunc(all, func(k Kind) bool { return k.name == name })
	if i < 0 {
		return nil, problem.Invalid(problem.Field{Pointer: "/kind", Detail: fmt.Sprintf("%q is no kind of jobs; there are %s", name, strings.Join(all.names(), ", "))})
	}
	return &all[i], nil
}

func (all Kinds) names() []string {
	var names []string
	for _, k := range all {
		names = append(names, k.name)
	}
	slices.Sort(names)
	return names
}

// maxPayload bounds what a job is given, in bytes.
const maxPayload = 64 << 10

// args reads a payload of the kind; its error names what is wrong by pointers
// below /payload.
func (k *Kind) args(payload json.RawMessage) (river.JobArgs, error) {
	if len(payload) == 0 {
		payload = json.RawMessage("{}")
	}
	if len(payload) > maxPayload {
		return nil, problem.Invalid(problem.Field{Pointer: "/payload", Detail: fmt.Sprintf("is larger than %d bytes", maxPayload)})
	}
	args, err := k.decode(payload)
	if p, ok := err.(*problem.Problem); ok && p.Status == http.StatusBadRequest { //nolint:errorlint // they come bare
		for i := range p.Errors {
			p.Errors[i].Pointer = "/payload" + p.Errors[i].Pointer
		}
	}
	return args, err
}
