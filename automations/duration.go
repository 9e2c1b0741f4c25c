package automations

import (
	"math/big"
	"regexp"
	"strings"
	"time"
)

// MaxDelay is the longest time a step may wait, and MaxAge the longest that
// records can be told to be kept.
const (
	MaxDelay = 366 * 24 * time.Hour
	MaxAge   = 100 * MaxDelay
)

// durationUnits maps the words for units of time.
var durationUnits = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

var (
	wordDuration = regexp.MustCompile(`^(?:\d{1,9}(?:\.\d{1,9})?\s*[a-z]+\s*)+$`)
	wordPart     = regexp.MustCompile(`(\d+(?:\.\d+)?)\s*([a-z]+)`)
	isoDuration  = regexp.MustCompile(`^p(?:(?:\d{1,9}(?:\.\d{1,9})?[wd])+)?(?:t(?:\d{1,9}(?:\.\d{1,9})?[hms])+)?$`)
)

// ParseDuration reads how long to wait: words ("1 day 12 hours", "1.5 h"), ISO
// 8601 ("PT1H", "P1DT12H") or Go ("90m"). It is more than zero, at most
// MaxDelay, and precise to the millisecond. Months and years have no fixed
// length and are refused. Error codes: delay_duration_invalid,
// delay_duration_too_long.
func ParseDuration(s string) (time.Duration, error) { return parseDuration(s, MaxDelay) }

// ParseAge is ParseDuration up to MaxAge, where "forever" and 0 are zero.
func ParseAge(s string) (time.Duration, error) {
	if text := strings.ToLower(strings.TrimSpace(s)); text == "forever" || text == "0" {
		return 0, nil
	}
	return parseDuration(s, MaxAge)
}

func parseDuration(s string, most time.Duration) (time.Duration, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	if len(text) > 1 && isoDuration.MatchString(text) {
		text = strings.NewReplacer("p", "", "t", "").Replace(text)
	}
	if !wordDuration.MatchString(text) {
		return 0, invalidDuration(s)
	}
	total := new(big.Rat)
	for _, part := range wordPart.FindAllStringSubmatch(text, -1) {
		unit, known := durationUnits[part[2]]
		amount, ok := new(big.Rat).SetString(part[1])
		if !known || !ok {
			return 0, invalidDuration(s)
		}
		total.Add(total, amount.Mul(amount, new(big.Rat).SetInt64(unit.Milliseconds())))
	}
	ms := new(big.Int).Quo(total.Num(), total.Denom())
	switch {
	case ms.Sign() == 0:
		return 0, invalidDuration(s)
	case ms.Cmp(big.NewInt(most.Milliseconds())) > 0:
		return 0, Errorf(KindInvalid, "delay_duration_too_long", "%.40q is too long; it may be %d days at most", s, most/(24*time.Hour))
	}
	return time.Duration(ms.Int64()) * time.Millisecond, nil
}

func invalidDuration(s string) error {
	return Errorf(KindInvalid, "delay_duration_invalid", `%.40q is not a duration of more than zero; write it like "30 minutes", "1 day 12 hours", "PT1H" or "90m"`, s)
}
