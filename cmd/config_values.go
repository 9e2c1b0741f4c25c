package cmd

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
)

// Age is how long records are kept, such as 90d; 0 and forever are zero.
type Age time.Duration

const ageDay = Age(24 * time.Hour)

// UnmarshalText reads an Age.
func (a *Age) UnmarshalText(text []byte) error {
	age, err := automations.ParseAge(string(text))
	if err != nil {
		return fmt.Errorf("must be a time such as 90d or 12h, or forever; it is %.40q", text)
	}
	*a = Age(age)
	return nil
}

// String is the age as one writes it.
func (a Age) String() string {
	switch {
	case a == 0:
		return "forever"
	case a%ageDay == 0:
		return fmt.Sprintf("%dd", a/ageDay)
	}
	return durationText(time.Duration(a))
}

// Size is a number of bytes, such as 20GB, 512MiB or 1048576.
type Size int64

var (
	sizeText  = regexp.MustCompile(`^(\d{1,15})\s*([A-Za-z]*)$`)
	sizeUnits = map[string]int64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	}
)

// String is the size in the largest unit that it is a whole number of.
func (s Size) String() string {
	for _, unit := range []string{"TiB", "TB", "GiB", "GB", "MiB", "MB"} {
		if n := Size(sizeUnits[strings.ToLower(unit)]); s != 0 && s%n == 0 {
			return fmt.Sprintf("%d%s", s/n, unit)
		}
	}
	return fmt.Sprintf("%d", int64(s))
}

// UnmarshalText reads a Size.
func (s *Size) UnmarshalText(text []byte) error {
	parts := sizeText.FindStringSubmatch(string(text))
	if parts == nil || sizeUnits[strings.ToLower(parts[2])] == 0 {
		return fmt.Errorf("must be a size such as 20GB or 512MiB; it is %.40q", text)
	}
	n, unit := int64(0), sizeUnits[strings.ToLower(parts[2])]
	fmt.Sscan(parts[1], &n)
	if n > math.MaxInt64/unit {
		return fmt.Errorf("must be a size that a file can have; it is %.40q", text)
	}
	*s = Size(n * unit)
	return nil
}

// ofText is a value that the file has as text and that reads itself; nil when
// the type is none of these.
func ofText(kind reflect.Type) encoding.TextUnmarshaler {
	u, _ := reflect.New(kind).Interface().(encoding.TextUnmarshaler)
	return u
}

// decodeText reads what stands in the file into the types above and into
// durations, for viper.
func decodeText(_, to reflect.Type, value any) (any, error) {
	if text, ok := value.(string); ok && to == reflect.TypeFor[time.Duration]() {
		return automations.ParseDuration(text)
	}
	u := ofText(to)
	if u == nil {
		return value, nil
	}
	err := u.UnmarshalText([]byte(fmt.Sprint(value)))
	return reflect.ValueOf(u).Elem().Interface(), err
}
