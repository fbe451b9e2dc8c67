package pricing

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Why a coupon does not apply.
const (
	ReasonUnknown         = "unknown"
	ReasonInactive        = "inactive"
	ReasonNotStarted      = "not_started"
	ReasonExpired         = "expired"
	ReasonUsedUp          = "used_up"
	ReasonWrongCurrency   = "wrong_currency"
	ReasonNothingEligible = "nothing_eligible" // or nothing left to take off
	ReasonMinimumNotMet   = "minimum_not_met"
	ReasonNotCombinable   = "not_combinable"
)

// lineSet is a set of a basket's lines, which are MaxLines at most.
type lineSet [(MaxLines + 63) / 64]uint64

func (s *lineSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *lineSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// candidate is a promotion whose conditions a basket meets.
type candidate struct {
	promotion *Promotion
	// coupon is the index of the state of its code, -1 without one.
	coupon int
	lines  lineSet
	// amount is what it took off when it was last tried.
	amount int64
}

// candidates are those that combine, in the order in which they apply, and
// then the others in that order.
type candidates struct {
	all        []candidate
	combinable int // how many combine
	coupons    []CouponState
}

// deal is what a set of promotions does to a basket.
type deal struct {
	applied []candidate
	// rest is what is left of each line, subtotal their sum.
	rest     [MaxLines]int64
	subtotal int64
	// offered says whether the method has a price, which is shipping before
	// shippingOff is taken off.
	offered               bool
	shipping, shippingOff int64
	// saved is everything that was taken off.
	saved int64
}

// find collects what may apply to the basket, and says of every coupon why it
// may not.
func (r *Rules) find(b *Basket, found *candidates) {
	found.all = make([]candidate, 0, len(r.automatic)+len(b.Coupons))
	for _, p := range r.automatic {
		if lines, reason := p.meets(b); reason == "" {
			found.all = append(found.all, candidate{promotion: p, coupon: -1, lines: lines})
		}
	}
	if len(b.Coupons) > 0 {
		found.coupons = make([]CouponState, 0, len(b.Coupons))
	}
	for _, typed := range b.Coupons {
		state := CouponState{Code: strings.ToUpper(strings.TrimSpace(typed)), Reason: ReasonUnknown}
		if slices.ContainsFunc(found.coupons, func(s CouponState) bool { return s.Code == state.Code }) {
			continue
		}
		if p := r.codes[state.Code]; p != nil {
			var lines lineSet
			if lines, state.Reason = p.meets(b); state.Reason == "" {
				found.all = append(found.all, candidate{promotion: p, coupon: len(found.coupons), lines: lines})
			}
		}
		found.coupons = append(found.coupons, state)
	}
	for i := range found.all {
		if found.all[i].promotion.Combinable {
			found.combinable++
		}
	}
	slices.SortFunc(found.all, func(a, b candidate) int {
		switch x, y := a.promotion, b.promotion; {
		case x.Combinable == y.Combinable:
			return x.order - y.order
		case x.Combinable:
			return -1
		}
		return 1
	})
}

// meets tells which lines are eligible, or why the promotion does not apply.
// The minimums are of the eligible lines before any discount.
func (p *Promotion) meets(b *Basket) (lines lineSet, reason string) {
	if reason := p.closed(b.At); reason != "" {
		return lines, reason
	}
	if p.Currency != "" && p.Currency != b.Currency {
		return lines, ReasonWrongCurrency
	}
	var subtotal, quantity int64
	for i := range b.Lines {
		if l := &b.Lines[i]; p.covers(l) {
			lines.add(i)
			subtotal += l.UnitPrice * l.Quantity
			quantity += l.Quantity
		}
	}
	switch {
	case quantity == 0, p.Kind == FreeShipping && !b.needsShipping():
		return lines, ReasonNothingEligible
	case subtotal < p.MinimumSubtotal, quantity < p.MinimumQuantity,
		p.Kind == BuyXGetY && quantity < p.BuyQuantity+p.GetQuantity:
		return lines, ReasonMinimumNotMet
	}
	return lines, ""
}

func (p *Promotion) closed(at time.Time) string {
	switch {
	case !p.Active:
		return ReasonInactive
	case at.Before(p.StartsAt):
		return ReasonNotStarted
	case !p.EndsAt.IsZero() && !at.Before(p.EndsAt):
		return ReasonExpired
	case p.UsageLimit > 0 && p.Used >= p.UsageLimit:
		return ReasonUsedUp
	}
	return ""
}

func (p *Promotion) covers(l *Line) bool {
	if p.targets == nil {
		return true
	}
	if _, ok := p.targets[l.ProductID]; ok {
		return true
	}
	for _, id := range l.CollectionIDs {
		if _, ok := p.targets[id]; ok {
			return true
		}
	}
	return false
}

// best is the better of all that combine together and the best single one of
// those that do not; of equals the first. It writes into one and other, and
// states what became of the coupons.
func (r *Rules) best(b *Basket, m *ShippingMethod, found *candidates, one, other *deal) *deal {
	best, trial := one, other
	best.try(b, m, found.all[:found.combinable])
	for i := found.combinable; i < len(found.all); i++ {
		trial.try(b, m, found.all[i:i+1])
		if len(best.applied) == 0 || trial.saved > best.saved {
			best, trial = trial, best
		}
	}
	for i := range found.all {
		if at := found.all[i].coupon; at >= 0 {
			found.coupons[at].Applies, found.coupons[at].Reason = false, ReasonNotCombinable
		}
	}
	for i := range best.applied {
		c := &best.applied[i]
		if c.coupon < 0 {
			continue
		}
		state := &found.coupons[c.coupon]
		state.Applies = c.amount > 0 || c.promotion.Kind == FreeShipping && !best.offered
		if state.Reason = ""; !state.Applies {
			state.Reason = ReasonNothingEligible
		}
	}
	return best
}

// try applies the promotions one after the other, each to what is left, and
// then ships by the method, which may be nil.
func (d *deal) try(b *Basket, m *ShippingMethod, promotions []candidate) {
	d.applied = promotions
	d.subtotal, d.saved, d.offered, d.shipping, d.shippingOff = 0, 0, false, 0, 0
	rest := d.rest[:len(b.Lines)]
	for i := range b.Lines {
		rest[i] = b.Lines[i].UnitPrice * b.Lines[i].Quantity
	}
	for i := range promotions {
		promotions[i].amount = promotions[i].take(b, rest)
		d.saved += promotions[i].amount
	}
	for _, left := range rest {
		d.subtotal += left
	}
	if m == nil {
		return
	}
	d.shipping, d.offered = m.price(b, d.subtotal)
	for i := range promotions {
		if c := &promotions[i]; c.promotion.Kind == FreeShipping {
			c.amount = d.shipping - d.shippingOff
			d.shippingOff = d.shipping
			d.saved += c.amount
		}
	}
}

// take takes the promotion off the rest of the lines and returns how much; for
// free shipping that is nothing.
func (c *candidate) take(b *Basket, rest []int64) int64 {
	p := c.promotion
	if p.Kind == BuyXGetY {
		return c.takeUnits(b, rest)
	}
	var weights [MaxLines]int64
	var eligible int64
	for i, left := range rest {
		if c.lines.has(i) {
			weights[i] = left
			eligible += left
		}
	}
	var amount int64
	switch p.Kind {
	case Percentage:
		amount = scaled(eligible, p.PPM, million)
		if p.Cap > 0 {
			amount = min(amount, p.Cap)
		}
	case FixedAmount:
		amount = p.Amount
	}
	amount = min(amount, eligible)
	if amount == 0 {
		return 0
	}
	var parts [MaxLines]int64
	allocate(amount, weights[:len(rest)], parts[:len(rest)])
	for i := range rest {
		rest[i] -= parts[i]
	}
	return amount
}

// takeUnits reduces units of the eligible lines: of all units, the dearest
// first and of one price in the order of lines, the last
// units/(buy+get)*get. The reduction is rounded once for each line.
func (c *candidate) takeUnits(b *Basket, rest []int64) (taken int64) {
	p := c.promotion
	var buf [MaxLines]int
	order, units := buf[:0], int64(0)
	for i := range rest {
		if c.lines.has(i) {
			order = append(order, i)
			units += b.Lines[i].Quantity
		}
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(b.Lines[y].UnitPrice, b.Lines[x].UnitPrice) })
	reduced := units / (p.BuyQuantity + p.GetQuantity) * p.GetQuantity
	for _, i := range slices.Backward(order) {
		n := min(reduced, b.Lines[i].Quantity)
		off := min(scaled(n*b.Lines[i].UnitPrice, p.PPM, million), rest[i])
		rest[i] -= off
		taken += off
		reduced -= n
	}
	return taken
}
