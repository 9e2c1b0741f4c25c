package cmd

import (
	"encoding"
	"fmt"
	"reflect"
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
		return time.ParseDuration(text)
	}
	u := ofText(to)
	if u == nil {
		return value, nil
	}
	err := u.UnmarshalText([]byte(fmt.Sprint(value)))
	return reflect.ValueOf(u).Elem().Interface(), err
}
