package mbox

import (
	"strings"
	"testing"
	"time"
)

// told is what the header of a message says; the rest of the message is ordinary.
func told(t *testing.T, header string) Message {
	t.Helper()
	s := NewScanner(strings.NewReader(from+header+"\ntext\nDate: Thu, 1 Jan 1970 00:00:00 +0000\n"), today)
	s.Fields = true
	messages, err := all(t, s)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%q: %d messages, %v", header, len(messages), err)
	}
	return messages[0]
}

func TestMessageID(t *testing.T) {
	for header, want := range map[string]string{
		"X: y\n":                                                 "",
		"Message-ID: <a@b>\n":                                    "a@b",
		"message-id:<a@b>\r\n":                                   "a@b",
		"MESSAGE-ID \t: \t<a@b>\n":                               "a@b",
		"Message-Id: <a@b> (added by c@d)\n":                     "a@b",
		"Message-Id: a@b \n":                                     "a@b",
		"Message-ID:\n <a@b>\n":                                  "a@b",
		"Message-ID: <a\n\t b\r\n @c>\n":                         "ab@c",
		"Message-ID: <a b@c>\nX: y\n":                            "ab@c",
		"Message-ID: <a@b\n":                                     "<a@b",
		"Message-ID: <>\nX: y\n":                                 "",
		"Message-ID: <a@b>\nMessage-ID: <c@d>\n":                 "a@b",
		"Message-ID:\nMessage-ID: <c@d>\n":                       "",
		"Message-ID2: <c@d>\n":                                   "",
		"Message: <c@d>\n":                                       "",
		"X-Message-ID: <c@d>\n":                                  "",
		"X: y\n Message-ID: <c@d>\n":                             "",
		"no field\nMessage-ID: <c@d>\n":                          "",
		"Message-ID: <a\xff\x00@b>\n":                            "a\xff\x00@b",
		"Message-ID: <" + long998 + ">\n":                        long998,
		"Message-ID: <" + long998 + "x>\n":                       "",
		"Message-ID: <a@b>\n" + manyLines + "X: y\n":             "a@b",
		manyLines + "Message-ID: <a@b>\n":                        "",
		longLine + "Message-ID: <a@b>\n":                         "a@b",
		"Message-ID:" + strings.Repeat(" ", 100<<10) + "<a@b>\n": "",
		">" + from + "Message-ID: <a@b>\n":                       "a@b",
	} {
		if m := told(t, header); m.ID != want {
			t.Errorf("%.100q: %q, want %.100q", header, m.ID, want)
		}
	}
}

var (
	long998   = strings.Repeat("x", maxID)
	manyLines = strings.Repeat("X: "+strings.Repeat("y", 76)+"\n", maxHeader/80+1)
	longLine  = "X: " + strings.Repeat("Date: Thu, 2 Jan 1970 00:00:00 +0000 ", 2000) + "\n"
)

func TestDating(t *testing.T) {
	for header, want := range map[string]struct {
		dating Dating
		date   string
	}{
		"X: y\n":                                 {Undated, ""},
		longLine:                                 {Undated, ""},
		"Date:\n":                                {Unparsable, ""},
		"Date: 30 Feb 2009 12:00:00 +0000\n":     {Unparsable, ""},
		"Date: Thu, 1 Jan 2009 15:04:05 +0100\n": {Dated, "2009-01-01 14:04:05"},
		"date : Thu,\n 1 Jan 2009\r\n\t15:04:05 +0100\r\n":                     {Dated, "2009-01-01 14:04:05"},
		"Date: Thu, 1 Jan 2009 15:04:05 +0100\nDate: 2 Jan 2009 15:04 +0000\n": {Dated, "2009-01-01 14:04:05"},
		"Date: soon\nDate: 2 Jan 2009 15:04 +0000\n":                           {Unparsable, ""},
		"X-Date: 1 Jan 2009 15:04 +0000\nDated: 1 Jan 2009 15:04 +0000\n":      {Undated, ""},
		"no field\nDate: 1 Jan 2009 15:04 +0000\n":                             {Undated, ""},
		"Date: Thu, 2 May 2024 12:00:00 +0000\n":                               {Dated, "2024-05-02 12:00:00"},
		"Date: Thu, 2 May 2024 12:00:01 +0000\n":                               {Future, ""},
		"Date: Tue, 19 Jan 2038 03:14:08 +0000\n":                              {Future, ""},
		"Date: Mon, 1 Jan 9999 00:00:00 +0000\n":                               {Future, ""},
	} {
		m := told(t, header)
		got := ""
		if !m.Date.IsZero() {
			got = m.Date.Format(time.DateTime)
		}
		if m.Dating != want.dating || got != want.date {
			t.Errorf("%.100q: %q %s, want %q %s", header, m.Dating, got, want.dating, want.date)
		}
		if received := m.Received.Format(time.DateTime); received != "2009-01-01 15:04:05" {
			t.Errorf("received %s", received)
		}
	}
	if m := scan(t, "From a Thu Mai  1 15:04:05 2009\n"+header+"\n")[0]; !m.Received.IsZero() {
		t.Errorf("received %v", m.Received)
	}
}

func TestFields(t *testing.T) {
	header := "From: \"A\"\n\t<a@b> \r\nSubject: =?utf-8?q?=C3=BC?=\n  x\xfcy\nsubject: other\nDate:\n 1 Jan 2009 15:04 +0000\nFrom:\tc@d\n"
	m := told(t, header)
	if m.Author != "\"A\"\t<a@b>" || m.Subject != "=?utf-8?q?=C3=BC?=  x\xfcy" || m.DateField != "1 Jan 2009 15:04 +0000" {
		t.Errorf("%q, %q, %q", m.Author, m.Subject, m.DateField)
	}
	if m := scan(t, from+header+"\n")[0]; m.Author+m.Subject+m.DateField != "" || m.Dating != Dated {
		t.Errorf("unasked: %+v", m)
	}
	if m := told(t, "X: y\n"+longLine+"Subject: "+strings.Repeat("x", 2*maxValue)+"\n"); len(m.Subject) != maxValue-1 {
		t.Errorf("a subject of %d bytes", len(m.Subject))
	}
}
