package feel

import (
	"time"

	"github.com/underseal/underseal/internal/canon"
)

var temporalFunctions = []definition{
	{"now()", func(c *call) value { return c.env.Now }},
	{"today()", func(c *call) value { return c.env.Now.Date }},
	{"day of year(date: date)", dayOfYear},
	{"day of week(date: date)", dayOfWeek},
	{"month of year(date: date)", monthOfYear},
	{"week of year(date: date)", weekOfYear},
}

func dayOfYear(c *call) value {
	d := dayOf(c.args[0])
	return canon.NewNumber(dayNumber(d) - dayNumber(canon.Date{Year: d.Year, Month: 1, Day: 1}) + 1)
}

func dayOfWeek(c *call) value {
	return canon.String(time.Weekday(weekday(dayOf(c.args[0])) % 7).String())
}

func monthOfYear(c *call) value {
	return canon.String(time.Month(dayOf(c.args[0]).Month).String())
}

// weekOfYear follows ISO 8601: a week belongs to the year of its Thursday.
func weekOfYear(c *call) value {
	d := dayOf(c.args[0])
	thursday := dayNumber(d) + int64(4-weekday(d))
	year, _ := dateOf(thursday)
	first := dayNumber(canon.Date{Year: year.Year, Month: 1, Day: 1})
	return canon.NewNumber((thursday-first)/7 + 1)
}
