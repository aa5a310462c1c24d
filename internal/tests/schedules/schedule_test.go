//go:build schedules

package schedules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A schedule is what is chosen where there is a choice; beyond its end the first option is taken.
type schedule struct {
	fine    bool // releasing a lock is a yield point
	choices []int
}

// String leaves out the first options: "3:1 17:2" is option 1 at choice 3 and option 2 at choice 17.
func (s schedule) String() string {
	words := []string{"coarse"}
	if s.fine {
		words[0] = "fine"
	}
	for i, option := range s.choices {
		if option > 0 {
			words = append(words, fmt.Sprintf("%d:%d", i, option))
		}
	}
	return strings.Join(words, " ")
}

func parseSchedule(text string) (s schedule, err error) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != "fine" && words[0] != "coarse" {
		return s, fmt.Errorf("schedule %q begins neither with coarse nor with fine", text)
	}
	s.fine = words[0] == "fine"
	for _, word := range words[1:] {
		at, option, _ := strings.Cut(word, ":")
		i, err := strconv.Atoi(at)
		if err != nil || i < len(s.choices) {
			return s, fmt.Errorf("schedule %q: %q cannot stand there", text, word)
		}
		s.choices = append(s.choices, make([]int, i+1-len(s.choices))...)
		if s.choices[i], err = strconv.Atoi(option); err != nil {
			return s, err
		}
	}
	return s, nil
}

// A point is a choice that a run came to.
type point struct {
	options int
	option  int
	label   string // of the option
	running bool   // option 0 had gone on last: any other is a preemption
}

// A follower chooses as a schedule says, and notes what there was to choose from.
type follower struct {
	schedule schedule
	beyond   func(options int, running bool) int // where the schedule ends
	points   []point
}

func first(int, bool) int { return 0 }

func (f *follower) choose(options []*thread, running bool) (option int) {
	if i := len(f.points); i < len(f.schedule.choices) {
		option = min(f.schedule.choices[i], len(options)-1)
	} else {
		option = f.beyond(len(options), running)
	}
	f.points = append(f.points, point{len(options), option, options[option].String(), running})
	return option
}

func (f *follower) chosen() (options []int) {
	for _, p := range f.points {
		options = append(options, p.option)
	}
	return options
}

// next is the schedule that follows a run's in depth-first order, with at most so many preemptions.
func next(points []point, preemptions int) (s schedule, ok bool) {
	var options, spent []int // spent: preemptions before each choice
	n := 0
	for _, p := range points {
		options, spent = append(options, p.option), append(spent, n)
		if p.running && p.option > 0 {
			n++
		}
	}
	for i, p := range slices.Backward(points) {
		if p.option+1 < p.options && (!p.running || p.option > 0 || spent[i] < preemptions) {
			options[i]++
			return schedule{choices: options[:i+1]}, true
		}
	}
	return schedule{}, false
}

// diverged says where a run that began as the one before did went another way.
func diverged(before, now []point, until int) string {
	for i := range until {
		if i == len(now) {
			return fmt.Sprintf("not as the run before it, which began alike: it ended before choice %d", i)
		}
		if before[i] != now[i] {
			return fmt.Sprintf("not as the run before it, which began alike: choice %d was %+v and is %+v", i, before[i], now[i])
		}
	}
	return ""
}
