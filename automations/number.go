package automations

import (
	"cmp"
	"strconv"
	"strings"
)

// decimal is a JSON number without rounding: 0.digits × 10^exponent. It is
// compared as it stands, never expanded, so that 1e999999999 costs as little as
// 1.
type decimal struct {
	negative bool
	digits   string // without zeros at either end; empty for zero
	exponent int64
}

// maxExponent is where exponents are cut off: beyond it numbers differ by
// their sign alone.
const maxExponent = 1 << 40

// parseDecimal reads the text of a valid JSON number.
func parseDecimal(s string) decimal {
	s, negative := strings.CutPrefix(s, "-")
	mantissa, exp, scientific := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d := decimal{negative: negative, digits: whole + fraction, exponent: int64(len(whole))}
	if scientific {
		e, err := strconv.ParseInt(exp, 10, 64)
		if err != nil || e > maxExponent || e < -maxExponent {
			e = maxExponent
			if strings.HasPrefix(exp, "-") {
				e = -maxExponent
			}
		}
		d.exponent += e
	}
	stripped := strings.TrimLeft(d.digits, "0")
	d.exponent -= int64(len(d.digits) - len(stripped))
	d.digits = strings.TrimRight(stripped, "0")
	if d.digits == "" {
		return decimal{}
	}
	return d
}

// compareNumbers orders two JSON numbers by their exact value.
func compareNumbers(a, b string) int {
	x, y := parseDecimal(a), parseDecimal(b)
	if order := cmp.Compare(x.sign(), y.sign()); order != 0 {
		return order
	}
	order := cmp.Compare(x.exponent, y.exponent)
	if order == 0 {
		order = strings.Compare(x.digits, y.digits)
	}
	if x.negative {
		return -order
	}
	return order
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// maxZeros is how many zeros String writes at the end of a whole number, before
// it writes an exponent.
const maxZeros = 20

// String is the number as JSON; equal numbers have the same. Whole numbers are
// plain digits, up to maxZeros.
func (d decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	text := d.digits
	if d.negative {
		text = "-" + text
	}
	switch zeros := d.exponent - int64(len(d.digits)); {
	case zeros == 0:
		return text
	case zeros > 0 && zeros <= maxZeros:
		return text + strings.Repeat("0", int(zeros))
	default:
		return text + "e" + strconv.FormatInt(zeros, 10)
	}
}
