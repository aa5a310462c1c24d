package monitor

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"maps"
	"net/http"
	"slices"
)

//go:embed static
var files embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"count": count, "rate": rate, "size": size, "span": span, "stamp": stamp, "clock": clock, "class": class,
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
	Sort        string
	SortedBy    string
	Reasons     []reasonRow
	ClosedTotal uint64
	Closes      []Session
	RemoteAddrs bool
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
	sort := r.URL.Query().Get("sort")
	if sort == "" {
		sort = "rate"
	}
	if orders[sort] == nil || sort == "closed" {
		return text(http.StatusBadRequest, "The sessions cannot be sorted by that, but by "+sorts+".")
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, m.view(sort)); err != nil {
		return text(http.StatusInternalServerError, err.Error())
	}
	return answer{http.StatusOK, "text/html; charset=utf-8", body.Bytes()}
}

func (m *monitor) view(sort string) view {
	v := view{Sort: sort, RemoteAddrs: m.RemoteAddrs, CanClose: m.Authorize != nil}
	busiest := top{order: orders[sort], most: pageSessions}
	v.Varz = m.look(func(e *entry) {
		v.Total++
		busiest.offer(e)
	})
	v.Tiles = tiles(v.Varz, m.past.upTo(v.Varz))
	v.Columns, v.SortedBy = columns(sort, m.RemoteAddrs)
	v.Sessions = m.describe(busiest.sorted())
	v.Reasons, v.ClosedTotal = byReason(v.Closed)
	v.Closes = m.ask(question{state: stateClosed, sort: "closed", limit: pageCloses}).Sessions
	return v
}

func columns(sort string, remote bool) (all []column, sortedBy string) {
	all = []column{
		{Title: "Session", Sort: "id", Help: "number"},
		{Title: "Peer", Class: "text"},
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
	if remote {
		all[3].Class, all[4].Class = "wide", "wide" // a phone has no room for these beside the peer
	} else {
		all = slices.Delete(all, 1, 2)
	}
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
