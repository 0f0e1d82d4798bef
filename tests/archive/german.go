package archive

var ordinals = []string{"First", "Second", "Third", "Fourth"}

// say is what pages say, in their language.
func (p *pipermail) say(s string) string {
	if p.o.German {
		if g, ok := german[s]; ok {
			return g
		}
	}
	return s
}

// sayHTML is the same for a page.
func (p *pipermail) sayHTML(s string) []byte { return p.quote(p.say(s)) }

// german are words of Mailman's pages; what is not here stays English.
var german = map[string]string{
	"January": "Januar", "February": "Februar", "March": "März", "April": "April", "May": "Mai", "June": "Juni", "July": "Juli",
	"August": "August", "September": "September", "October": "Oktober", "November": "November", "December": "Dezember",
	"Mar": "Mär", "Oct": "Okt", "Dec": "Dez",
	"Mon": "Mo", "Tue": "Di", "Wed": "Mi", "Thu": "Do", "Fri": "Fr", "Sat": "Sa", "Sun": "So",
	"First": "Erste(s)", "Second": "Zweite(s)", "Third": "Dritte(s)", "Fourth": "Vierte(s)", "quarter": "Quartal",
	"The Week Of Monday": "Woche", "No subject": "Kein Betreff",
	"thread": "Diskussionsfaden", "subject": "Betreff", "author": "Autor", "date": "Datum",
	"Thread": "Diskussionsfaden", "Subject": "Betreff", "Author": "Autor", "Date": "Datum",
	"Previous message (by thread):": "Vorherige Nachricht (dieses Gesprächs):", "Next message (by thread):": "Nächste Nachricht (dieses Gesprächs):",
	"Messages sorted by:": "Nachrichten sortiert nach:", "Starting:": "Von:", "Ending:": "Bis:", "Messages:": "Nachrichten:",
	"Last message date:": "Datum der letzten Nachricht:", "Archived on:": "Archiviert in:", "Gzip'd Text": "Text gepackt (gzip)",
	"-------------- next part --------------": "-------------- nächster Teil --------------",
}
