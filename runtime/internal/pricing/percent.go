package pricing

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// percentDigits is how many digits after the point a percent may have: the
// last is one part per million.
const percentDigits = 4

// ParsePercent reads a decimal from 0 to 100 with four digits after the point
// at most, such as "19" or "7.25", as parts per million. It takes no sign,
// exponent, space or leading zero.
func ParsePercent(s string) (ppm int64, err error) {
	whole, fraction, point := strings.Cut(s, ".")
	if !digits(whole, 3) || point && !digits(fraction, percentDigits) || len(whole) > 1 && whole[0] == '0' {
		return 0, errors.New("must be a percentage such as 19 or 7.25, with four digits after the point at most")
	}
	ppm, err = strconv.ParseInt(whole+fraction+strings.Repeat("0", percentDigits-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("percentage: %w", err)
	}
	if ppm > million {
		return 0, errors.New("must not be above 100")
	}
	return ppm, nil
}

func digits(s string, most int) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// FormatPercent writes parts per million as ParsePercent reads them, without
// needless zeros. Summed rates may be above 100.
func FormatPercent(ppm int64) string {
	const unit = million / 100
	s := strconv.FormatInt(ppm/unit, 10)
	if rest := ppm % unit; rest > 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%0*d", percentDigits, rest), "0")
	}
	return s
}
