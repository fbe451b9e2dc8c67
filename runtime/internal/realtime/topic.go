package realtime

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// scope is which of a topic's events somebody subscribed to.
type scope uint8

const (
	all scope = iota // every event
	own              // those that belong to the customer of the id
	one              // those about the object of the id
)

// key is what is subscribed to.
type key struct {
	topic string
	scope scope
	id    uuid.UUID
}

// topic is what a client says that it wants to hear of.
type topic struct {
	name   string
	object uuid.UUID
}

// readers are the scopes of who hears every event of a topic, also those that
// are not for customers.
var readers = map[string]string{
	events.Orders: "orders:read", events.Payments: "orders:read", events.Inventory: "inventory:read", events.Jobs: "jobs:read",
}

func parseTopic(s string) (topic, error) {
	name, object, hasObject := strings.Cut(s, "/")
	if _, ok := readers[name]; !ok || hasObject && name != events.Orders && name != events.Inventory {
		return topic{}, problem.New(http.StatusBadRequest, "unknown_topic",
			"There is no topic %.100q: they are orders, orders/ID, inventory, inventory/PRODUCT-ID, payments and jobs.", s)
	}
	t := topic{name: name}
	if hasObject {
		var err error
		if t.object, err = uuid.Parse(object); err != nil || len(object) != 36 {
			return topic{}, problem.New(http.StatusBadRequest, "unknown_topic", "%.100q does not end with an id.", s)
		}
	}
	return t, nil
}

func (t topic) String() string {
	if t.object == uuid.Nil {
		return t.name
	}
	return t.name + "/" + t.object.String()
}

// Orders knows who may see an order.
type Orders interface {
	// MaySee returns an error where the order is not there for somebody.
	MaySee(ctx context.Context, id uuid.UUID, who *identity.Principal) error
}

// Products knows the catalogue.
type Products interface {
	MaySee(ctx context.Context, id uuid.UUID, all bool) error
	// ProductsOf tells which product variants are of.
	ProductsOf(ctx context.Context, variantIDs []uuid.UUID) (map[uuid.UUID]uuid.UUID, error)
}

// authorize says what somebody hears who subscribes to a topic: a customer what
// is theirs.
func (h *Hub) authorize(ctx context.Context, t topic, p *identity.Principal) (key, error) {
	staff := p.Can(readers[t.name])
	switch {
	case t.object != uuid.Nil && t.name == events.Orders:
		return key{t.name, one, t.object}, h.orders.MaySee(ctx, t.object, p)
	case t.object != uuid.Nil:
		return key{t.name, one, t.object}, h.products.MaySee(ctx, t.object, p.Can("products:read"))
	case staff:
		return key{topic: t.name}, nil
	case p.SignedIn() && (t.name == events.Orders || t.name == events.Payments):
		return key{t.name, own, p.CustomerID}, nil
	}
	return key{}, problem.New(http.StatusForbidden, "forbidden", "The topic %s needs the scope %s.", t, readers[t.name])
}
