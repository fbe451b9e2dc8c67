package realtime

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Tickets makes what opens a socket.
type Tickets interface {
	Ticket(ctx context.Context, p *identity.Principal) (ticket string, expires time.Time, err error)
}

// Handlers answer the operations about sockets.
type Handlers struct{ Tickets Tickets }

// CreateSocketTicket answers POST /ws/tickets.
func (h Handlers) CreateSocketTicket(c *gin.Context) {
	ticket, expires, err := h.Tickets.Ticket(c.Request.Context(), identity.Of(c))
	rest.JSON(c, http.StatusCreated, openapi.SocketTicket{Ticket: ticket, ExpiresAt: expires}, err)
}
