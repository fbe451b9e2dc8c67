package pricing

import (
	"math/bits"

	"gitee.com/captainjez/gocart/runtime/internal/money"
)

// million is the rate of 100%.
const million = 1_000_000

// tooMuch stands for every amount above money.Max.
const tooMuch = money.Max + 1

// scaled is a*b/c rounded half up, tooMuch at most. None may be negative, and
// c is above zero; the product may have 128 bits.
func scaled(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	lo, carry := bits.Add64(lo, uint64(c)/2, 0)
	hi += carry
	if hi >= uint64(c) {
		return tooMuch
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, tooMuch))
}

// allocate splits amount into parts in proportion to the weights, exactly, by
// largest remainder: each part is rounded down, and what is left goes, one
// each, to those that lost most; of equals first to the larger weight, then to
// the first. No part is above its weight where amount is not above their sum.
// The sum of the weights must fit, and be above zero unless amount is zero.
func allocate(amount int64, weights, parts []int64) {
	clear(parts)
	var sum uint64
	for _, w := range weights {
		sum += uint64(w)
	}
	if amount == 0 || sum == 0 {
		return
	}
	left := amount
	var buf [MaxLines]uint64
	lost := buf[:0]
	for i, w := range weights {
		hi, lo := bits.Mul64(uint64(amount), uint64(w))
		q, rem := bits.Div64(hi, lo, sum)
		parts[i], lost = int64(q), append(lost, rem)
		left -= int64(q)
	}
	for ; left > 0; left-- {
		most := 0
		for i := 1; i < len(lost); i++ {
			if lost[i] > lost[most] || lost[i] == lost[most] && weights[i] > weights[most] {
				most = i
			}
		}
		parts[most]++
		lost[most] = 0
	}
}
