package db

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// actSetting is what triggers know an act by that is to be recorded.
const actSetting = "gocart.act"

type actKey struct{}

// Acting is a context in which whatever is written to the database belongs to
// an act: triggers have its description, a JSON object, as the setting
// gocart.act. See package audit.
func Acting(ctx context.Context, act string) context.Context {
	return context.WithValue(ctx, actKey{}, act)
}

// Prepare is a pool's PrepareConn: it has the connection know the act of who
// is given it, or that there is none. It asks the database only where that
// changes.
func Prepare(ctx context.Context, conn *pgx.Conn) (bool, error) {
	act, _ := ctx.Value(actKey{}).(string)
	known := conn.PgConn().CustomData()
	if was, _ := known[actSetting].(string); was == act {
		return true, nil
	}
	_, err := conn.PgConn().ExecParams(ctx, "SELECT set_config($1, $2, false)", [][]byte{[]byte(actSetting), []byte(act)}, nil, nil, nil).Close()
	if err != nil {
		return false, err
	}
	known[actSetting] = act
	return true, nil
}
