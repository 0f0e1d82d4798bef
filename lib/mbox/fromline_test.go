package mbox

import (
	"testing"
	"time"
)

func TestFromLine(t *testing.T) {
	for line, want := range map[string]string{
		// Forms that c-client lists.
		"From fred@example.org Wed Dec  2 05:53 1992":           "1992-12-02 05:53:00",
		"From fred@example.org Wed Dec  2 05:53:22 1992":        "1992-12-02 05:53:22",
		"From fred@example.org Wed Dec  2 05:53 PST 1992":       "1992-12-02 13:53:00",
		"From fred@example.org Wed Dec  2 05:53:22 PST 1992":    "1992-12-02 13:53:22",
		"From fred@example.org Wed Dec  2 05:53 -0700 1992":     "1992-12-02 12:53:00",
		"From fred@example.org Wed Dec  2 05:53:22 1992 -0700":  "1992-12-02 12:53:22",
		"From fred@example.org Wed Dec  2 05:53 1992 PST":       "1992-12-02 13:53:00",
		"From fred Wed Dec  2 05:53:22 1992 remote from tree":   "1992-12-02 05:53:22",
		"From fred Wed Dec 2 05:53 1992 PST remote from a b":    "1992-12-02 13:53:00",
		"From fred@example.org Wed Dec  2 05:53:22 MET DST 92 ": "no",
		// Senders.
		"From  Wed Dec  2 05:53:22 1992":                            "1992-12-02 05:53:22",
		"From Wed Dec  2 05:53:22 1992":                             "1992-12-02 05:53:22",
		"From - Tue Apr 27 19:42:22 2010":                           "2010-04-27 19:42:22",
		"From fred at example.org  Wed Dec  2 05:53:22 1992":        "1992-12-02 05:53:22",
		"From \"fred  f\"@example.org\tWed Dec  2 05:53:22 1992 \r": "1992-12-02 05:53:22",
		"From 123@xxx Tue Apr 27 19:42:22 +0000 2010":               "2010-04-27 19:42:22",
		"From MAILER-DAEMON Tue Apr 27 9:42:22 2010":                "2010-04-27 09:42:22",
		"From now on, Tue Apr 27 9:42 2010":                         "2010-04-27 09:42:00",
		"From Wed Dec 2 5:53 Wed Dec 2 6:53 1992":                   "1992-12-02 06:53:00",
		// Dates that cannot be read, in lines that are clear all the same.
		"From fred Die Mai 12 10:30:00 2020": "",
		"From fred Tue Feb 30 10:30:00 2020": "",
		"From fred Tue Feb 12 25:30:00 2020": "",
		"From fred Tue Feb 12 10:30 (a 2020": "",
		// Lines of text.
		"From ":                                                           "no",
		"From here":                                                       "no",
		"From fred@example.org":                                           "no",
		"From fred@example.org 10:30":                                     "no",
		"From fred Tue Feb 2 10:30":                                       "no",
		"From fred Tue Feb 2 10:3":                                        "no",
		"From fred Tue Feb 2 1030 2020":                                   "no",
		"From fred Tue Feb 2 10:30 20":                                    "no",
		"From fred Tue Feb 2 10:30:00 20201":                              "no",
		"From fred Tue Feb 123 10:30:00 2020":                             "no",
		"From fred Tues Feb 12 10:30:00 2020":                             "no",
		"From fred Tue 12 Feb 10:30:00 2020":                              "no",
		"From fred Tue, 12 Feb 2020 10:30:00 +0000":                       "no",
		"From - Sat May 01 2010 15:07:31 GMT+0400":                        "no",
		"From Tue Feb 12 10:30 in the hall until 2020":                    "no",
		"From fred Tue Feb 12 10:30:00 2020 in the hall we will sit down": "no",
		"From fred Tue Feb 12 10:30:00 2020 2021":                         "no",
		"From fred Tue Feb 12 10:30:00 2020 remote":                       "",
		"From fred Tue Feb 12 10:30:00 2020 .":                            "no",
	} {
		received, ok := fromLine([]byte(line))
		got := "no"
		if ok {
			got = ""
		}
		if !received.IsZero() {
			got = received.Format(time.DateTime)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

func TestStartsField(t *testing.T) {
	for text, want := range map[string]bool{
		"Subject: s\n": true, "Subject:": true, "Subject : s": true, "X-\t : s": true, "x:": true, "http://x": true, ">From a b": true,
		"": false, ":": false, " a: b": false, "\n": false, "Subject": false, "Subject s": false, "Subject s:": false, "S\xc3\xbc: s": false,
		"a\x00: b": false, ">From": false, ">>From a": false, "\ta: b": false,
	} {
		if got := startsField([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
