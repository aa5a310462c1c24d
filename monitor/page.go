package monitor

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed static
var files embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"count": count, "rate": rate, "size": size, "span": span, "stamp": stamp, "clock": clock, "class": class, "wait": wait, "decimal": decimal, "whole": whole,
}).ParseFS(files, "static/page.html"))

const (
	pageSessions = 15
	pageCloses   = 15
)

// view is what page.html shows.
type view struct {
	Varz
	Tiles       []tile
	Columns     []column
	Sessions    []Session
	Total       int // sessions, with those that are not on the page
	Named       bool
	Sort        string
	Find        string
	Groups      []number
	Gauges      []number
	Resume      *Resumez // nil without Options.Resume
	SortedBy    string
	Reasons     []reasonRow
	ClosedTotal uint64
	Closes      []Session
	RemoteAddrs bool
	ErrorTexts  bool
	CanClose    bool
}

// column is one of the sessions' table.
type column struct {
	Title, Sort, Help, Class string
	Sorted                   bool
	Direction                string
}

type reasonRow struct {
	Name, Class string
	Count       uint64
	Width       int // of 100
}

func (m *monitor) page(r *http.Request) answer {
	query := r.URL.Query()
	sort, find := query.Get("sort"), query.Get("find")
	if len(find) > maxSearch {
		return text(http.StatusBadRequest, fmt.Sprintf("What is searched for is at most %d bytes.", maxSearch))
	}
	if sort == "" {
		sort = "rate"
	}
	if orders[sort] == nil || sort == "closed" {
		return text(http.StatusBadRequest, "The sessions cannot be sorted by that, but by "+sorts+".")
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, m.view(sort, strings.ToValidUTF8(find, ""))); err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	return answer{http.StatusOK, "text/html; charset=utf-8", body.Bytes()}
}

func (m *monitor) view(sort, find string) view {
	v := view{Sort: sort, Find: find, RemoteAddrs: m.RemoteAddrs, ErrorTexts: m.ErrorTexts, CanClose: m.Authorize != nil}
	busiest := top{order: orders[sort], most: pageSessions}
	found := m.found(newSearch(find))
	v.Varz = m.look(func(e *entry) {
		if found == nil || found[e.id] {
			v.Total++
			busiest.offer(e)
		}
	})
	v.Tiles = tiles(v.Varz, m.past.upTo(v.Varz))
	v.Sessions = m.describe(busiest.sorted())
	v.Reasons, v.ClosedTotal = byReason(v.Closed)
	v.Closes = m.ask(question{state: stateClosed, sort: "closed", limit: pageCloses, find: find}).Sessions
	v.Named = slices.ContainsFunc(slices.Concat(v.Sessions, v.Closes), func(s Session) bool { return s.Name != "" })
	v.Columns, v.SortedBy = columns(sort, v.Named, m.RemoteAddrs)
	v.Groups, v.Gauges = numbersOf(m.groups), numbersOf(m.gauges)
	if m.Resume != nil {
		v.Resume = m.askResume(resumeQuestion{limit: pageSessions})
	}
	return v
}

// Link leads to the page sorted otherwise. The template would escape its = once more.
func (v view) Link(sort string) template.URL {
	q := url.Values{"sort": {sort}}
	if v.Find != "" {
		q.Set("find", v.Find)
	}
	return template.URL("./?" + q.Encode() + "#sessions")
}

func columns(sort string, named, remote bool) (all []column, sortedBy string) {
	all = []column{
		{Title: "Session", Sort: "id", Help: "number"},
		{Title: "Name", Class: "text"},
		{Title: "Peer", Class: "text"},
		{Title: "Conn", Class: "text wide"},
		{Title: "RTT", Class: "wide"},
		{Title: "Msgs/s", Sort: "rate", Help: "messages in and out a second"},
		{Title: "Msgs in", Sort: "messages_in", Help: "messages received"},
		{Title: "Msgs out", Sort: "messages_out", Help: "messages written"},
		{Title: "Bytes in", Sort: "bytes_in", Help: "bytes received", Class: "wide"},
		{Title: "Bytes out", Sort: "bytes_out", Help: "bytes written", Class: "wide"},
		{Title: "Queued", Sort: "queued", Help: "messages queued"},
		{Title: "Bytes queued", Sort: "queued_bytes", Help: "bytes queued", Class: "wide"},
		{Title: "Discarded", Sort: "discarded", Help: "messages discarded", Class: "wide"},
		{Title: "Silent for", Sort: "last_received", Help: "silence", Class: "wide"},
		{Title: "Open for", Sort: "opened", Help: "age", Class: "wide"},
	}
	if remote || named {
		all[6].Class, all[7].Class = "wide", "wide" // a phone has no room for these beside the peer
	}
	all = slices.DeleteFunc(all, func(c column) bool { return c.Title == "Peer" && !remote || c.Title == "Name" && !named })
	sortedBy = sort
	for i := range all {
		c := &all[i]
		if c.Sort != sort {
			continue
		}
		c.Sorted, c.Direction, sortedBy = true, "descending", c.Help
		if sort == "id" {
			c.Direction = "ascending"
		}
	}
	return all, sortedBy
}

// byReason puts the most frequent first.
func byReason(closed map[string]uint64) (rows []reasonRow, total uint64) {
	most := uint64(1)
	for _, name := range slices.Sorted(maps.Keys(closed)) {
		n := closed[name]
		rows = append(rows, reasonRow{Name: name, Class: class(name), Count: n})
		total += n
		most = max(most, n)
	}
	for i := range rows {
		rows[i].Width = max(1, int(float64(rows[i].Count)/float64(most)*100))
	}
	slices.SortStableFunc(rows, func(a, b reasonRow) int { return cmp.Compare(b.Count, a.Count) })
	return rows, total
}

// static answers with a file of the page's.
func static(name, contentType string) answer {
	body, err := files.ReadFile("static/" + name)
	if err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	return answer{http.StatusOK, contentType, body}
}
