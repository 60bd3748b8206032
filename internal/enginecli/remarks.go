package enginecli

import (
	"fmt"
	"slices"
	"strings"
)

// remarks are lines with a reason, each printed once for all processes that it is about.
type remarks struct {
	list []*remark
	by   map[string]*remark
}

// remark is one reason.
type remark struct {
	word   string // as painted for a terminal
	what   string // files
	reason string
	names  []string // of processes, in the order in which they came
	pids   map[string][]int
}

// add adds a process that a remark is about.
func (r *remarks) add(word, name string, pid int, what, reason string) {
	key := word + "\x00" + what + "\x00" + reason
	m := r.by[key]
	if m == nil {
		if r.by == nil {
			r.by = map[string]*remark{}
		}
		m = &remark{word: word, what: what, reason: reason, pids: map[string][]int{}}
		r.by[key], r.list = m, append(r.list, m)
	}
	if m.pids[name] == nil {
		m.names = append(m.names, name)
	}
	m.pids[name] = append(m.pids[name], pid)
}

// lines returns all remarks, the first added first. A line names at most most processes.
func (r *remarks) lines(most int) []string {
	lines := make([]string, 0, len(r.list))
	for _, m := range r.list {
		line := m.word + " " + m.processes(most)
		if m.what != "" {
			line += " " + m.what
		}
		lines = append(lines, line+": "+m.reason)
	}
	return lines
}

// processes names processes, as in "nginx (12, 13), redis (14) and 20 more".
func (m *remark) processes(most int) string {
	var names []string
	more := 0
	for _, name := range m.names {
		pids := slices.Sorted(slices.Values(m.pids[name]))
		n := min(len(pids), most)
		if most -= n; n > 0 {
			names = append(names, fmt.Sprintf("%s (%s)", name, joinInts(pids[:n])))
		}
		more += len(pids) - n
	}
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func joinInts(list []int) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = fmt.Sprint(n)
	}
	return strings.Join(texts, ", ")
}
