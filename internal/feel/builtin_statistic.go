package feel

import (
	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
)

var statisticFunctions = []definition{
	{"min(list...: Any)", func(c *call) value { return extreme(c, -1) }},
	{"max(list...: Any)", func(c *call) value { return extreme(c, 1) }},
	{"sum(list...: Any)", func(c *call) value { return c.fold(decimals.Add) }},
	{"product(list...: Any)", func(c *call) value { return c.fold(decimals.Mul) }},
	{"mean(list...: Any)", mean},
	{"median(list...: Any)", median},
	{"stddev(list...: Any)", stddev},
	{"mode(list...: Any)", mode},
}

// extreme returns the least (-1) or greatest (1) item.
func extreme(c *call, sign int) value {
	list := c.list(0)
	if len(list) == 0 {
		return c.fail("the list is empty or null")
	}
	best := list[0]
	for _, item := range list {
		order, ok := c.compare(item, best)
		if !ok {
			return c.fail("a %s cannot be compared with a %s", typeName(item), typeName(best))
		}
		if order*sign > 0 {
			best = item
		}
		if !c.step(1) {
			return canon.Null{}
		}
	}
	return best
}

// numbers returns the decimals of the list; false when it holds anything else.
func (c *call) numbers() ([]*apd.Decimal, bool) {
	list := c.list(0)
	if !c.step(len(list)) || !c.alloc(len(list)*valueSize/2) {
		return nil, false
	}
	numbers := make([]*apd.Decimal, len(list))
	for i, item := range list {
		n, ok := item.(canon.Number)
		if !ok {
			c.fail("the list holds a %s", typeName(item))
			return nil, false
		}
		numbers[i] = n.Decimal()
	}
	if len(numbers) == 0 {
		c.fail("the list is empty or null")
	}
	return numbers, len(numbers) > 0
}

type operation func(d, x, y *apd.Decimal) (apd.Condition, error)

func (c *call) fold(op operation) value {
	numbers, ok := c.numbers()
	if !ok {
		return canon.Null{}
	}
	total, err := c.foldNumbers(numbers, op)
	return c.number(total, err)
}

func (c *call) foldNumbers(numbers []*apd.Decimal, op operation) (*apd.Decimal, error) {
	total := new(apd.Decimal).Set(numbers[0])
	for _, n := range numbers[1:] {
		if !c.step(alignment(total, n)) {
			return nil, c.err
		}
		if _, err := op(total, total, n); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func mean(c *call) value {
	numbers, ok := c.numbers()
	if !ok {
		return canon.Null{}
	}
	average, err := c.meanOf(numbers)
	return c.number(average, err)
}

func (c *call) meanOf(numbers []*apd.Decimal) (*apd.Decimal, error) {
	total, err := c.foldNumbers(numbers, decimals.Add)
	if err == nil {
		_, err = decimals.Quo(total, total, apd.New(int64(len(numbers)), 0))
	}
	return total, err
}

func median(c *call) value {
	numbers, ok := c.sortedNumbers()
	if !ok {
		return canon.Null{}
	}
	half := len(numbers) / 2
	if len(numbers)%2 == 1 {
		return c.number(new(apd.Decimal).Set(numbers[half]), nil)
	}
	middle, err := c.meanOf(numbers[half-1 : half+1])
	return c.number(middle, err)
}

func (c *call) sortedNumbers() ([]*apd.Decimal, bool) {
	numbers, ok := c.numbers()
	if !ok {
		return nil, false
	}
	if !c.alloc(2 * valueSize * len(numbers)) {
		return nil, false
	}
	sorted := make(canon.List, 2*len(numbers))
	copy(sorted, c.list(0))
	mergeSort(sorted[:len(numbers)], sorted[len(numbers):], func(a, b value) bool {
		order, _ := c.compare(a, b)
		return c.step(1) && order < 0
	})
	for i := range numbers {
		numbers[i] = sorted[i].(canon.Number).Decimal()
	}
	return numbers, c.err == nil
}

// stddev is the standard deviation of a sample.
func stddev(c *call) value {
	numbers, ok := c.numbers()
	if !ok {
		return canon.Null{}
	}
	if len(numbers) < 2 {
		return c.fail("at least two numbers are needed")
	}
	average, err := c.meanOf(numbers)
	total, square := new(apd.Decimal), new(apd.Decimal)
	for _, n := range numbers {
		if err != nil || !c.step(10+alignment(n, average)+alignment(total, n)*2) {
			break
		}
		if _, err = decimals.Sub(square, n, average); err != nil {
			break
		}
		if _, err = decimals.Mul(square, square, square); err == nil {
			_, err = decimals.Add(total, total, square)
		}
	}
	if err == nil {
		_, err = decimals.Quo(total, total, apd.New(int64(len(numbers)-1), 0))
	}
	if err == nil {
		_, err = decimals.Sqrt(total, total)
	}
	return c.number(total, err)
}

// mode returns the most frequent numbers in ascending order.
func mode(c *call) value {
	if list, isList := c.args[0].(canon.List); isList && len(list) == 0 {
		return canon.List{}
	}
	numbers, ok := c.sortedNumbers()
	if !ok {
		return canon.Null{}
	}
	modes, most, run := canon.List{}, 0, 0
	for i, n := range numbers {
		if run++; i == 0 || n.Cmp(numbers[i-1]) != 0 {
			run = 1
		}
		if run > most {
			most, modes = run, canon.List{}
		}
		if run == most {
			modes = append(modes, finite(new(apd.Decimal).Set(n), nil))
		}
	}
	return modes
}
