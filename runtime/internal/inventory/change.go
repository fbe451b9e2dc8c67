package inventory

import (
	"slices"

	"github.com/google/uuid"
)

// Change has an owner hold more of what is demanded with a quantity above zero,
// and less of what is with one below, as far as anything is held. Of that, what
// is kept at a location stays. Too little stock is the error of
// Reserve, and then nothing is changed. The demands name each variant once.
func (l *Locked) Change(owner Owner, demands []Demand, kept func(variant, location uuid.UUID) int64) error {
	var more []Demand
	for _, d := range demands {
		if d.Quantity > 0 {
			more = append(more, d)
		}
	}
	before := slices.Clone(l.holds[owner.ID])
	if err := l.Reserve(owner, more); err != nil {
		return err
	}
	l.merge(owner.ID, before)
	for _, d := range demands {
		if d.Quantity >= 0 {
			continue
		}
		l.giveUp(owner, d.VariantID, -d.Quantity, kept)
	}
	l.holds[owner.ID] = slices.DeleteFunc(l.holds[owner.ID], func(h hold) bool { return h.quantity == 0 })
	if len(before) > 0 { // its rows are written anew
		l.released = append(l.released, owner.ID)
		for i := range l.holds[owner.ID] {
			l.holds[owner.ID][i].stored = false
		}
	}
	return nil
}

// merge adds what an owner holds anew of a place to what it held there before.
func (l *Locked) merge(owner uuid.UUID, before []hold) {
	all := before
	for _, h := range l.holds[owner][len(before):] {
		if i := slices.IndexFunc(all, func(b hold) bool { return b.place == h.place }); i >= 0 {
			all[i].quantity += h.quantity
		} else {
			all = append(all, h)
		}
	}
	l.holds[owner] = all
}

// giveUp releases a quantity of a variant that an owner holds, at the places
// that are taken from last first, and returns how much.
func (l *Locked) giveUp(owner Owner, variant uuid.UUID, quantity int64, kept func(variant, location uuid.UUID) int64) (given int64) {
	for _, at := range slices.Backward(l.byVariant[variant]) {
		i := slices.IndexFunc(l.holds[owner.ID], func(h hold) bool { return h.place == at })
		if i < 0 {
			continue
		}
		h := &l.holds[owner.ID][i]
		part := min(quantity-given, h.quantity-kept(variant, at.location))
		if part <= 0 {
			continue
		}
		h.quantity -= part
		given += part
		l.levels[at].dReserved -= part
		l.moves = append(l.moves, move{place: at, reason: "release", reserved: -part, order: orderID(owner.ID, owner.Order)})
	}
	return given
}
