package customer

import (
	"context"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// CheckOwnPassword wants a customer's password, within the bound on guesses of
// it; a wrong one is a *problem.Problem that names pointer.
func (s *Service) CheckOwnPassword(ctx context.Context, id uuid.UUID, pointer, password string) error {
	var f problem.Findings
	f.Text(pointer, password, 0, 200)
	if err := f.Err(); err != nil {
		return err
	}
	row, err := customerdb.New(s.pool).Credentials(ctx, id)
	if err != nil {
		return notFound(err, id)
	}
	ok, _, err := s.guess(ctx, row.Email, row.PasswordHash, password)
	if err == nil && !ok {
		err = problem.Invalid(problem.Field{Pointer: pointer, Detail: "is not your password"})
	}
	return err
}

// GuessesKey is what guesses of an address's password are counted by.
func GuessesKey(email string) []byte { return logIns.key(email) }
