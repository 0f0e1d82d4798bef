package mbox

import (
	"strings"
	"testing"
)

// Fields as programs write them, and what is left of them. "" is nothing.
var scrubs = []struct{ field, want string }{
	// Postfix
	{"Received: from [192.168.1.20] (pd9e12a3f.dip0.t-ipconnect.de [217.225.42.63])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n\t(Authenticated sender: anna)\n\tby mx.example.org (Postfix) with ESMTPSA id 4F3B12002A\n\tfor <dev@lists.example.org>; Sat, 11 Nov 2023 10:11:12 +0100 (CET)\n",
		"Received: from [scrubbed] (scrubbed [scrubbed])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n\t(Authenticated sender: anna)\n\tby mx.example.org (Postfix) with ESMTPSA id 4F3B12002A\n\tfor <dev@lists.example.org>; Sat, 11 Nov 2023 10:11:12 +0100 (CET)\n"},
	{"Received: from mail.example.net (unknown [IPv6:2001:db8:10:11::12:13])\r\n\tby mx.example.org (Postfix) with ESMTPS id 10.11.12.13\r\n",
		"Received: from mail.example.net (unknown [scrubbed])\r\n\tby mx.example.org (Postfix) with ESMTPS id 10.11.12.13\r\n"},
	{"Received: from localhost (localhost [127.0.0.1])\n\tby mx (Postfix, from userid 33)\n\tid A; 1 Jan 2020 10:11:12 +0000\n",
		"Received: from localhost (localhost [scrubbed])\n\tby mx (Postfix, from userid 33)\n\tid A; 1 Jan 2020 10:11:12 +0000\n"},
	// Exim
	{"Received: from host-198-51-100-7.isp.example ([198.51.100.7]:52144 helo=[10.1.2.3])\n\tby mx.example.org with esmtpsa (TLS1.3) tls TLS_AES_256_GCM_SHA384\n\t(Exim 4.94.2)\n\t(envelope-from <anna@example.org>)\n\tid 1oXyZa-0001Ab-2C\n\tfor dev@lists.example.org; Sun, 1 Jan 2023 10:11:12 +0100\n",
		"Received: from scrubbed ([scrubbed]:52144 helo=[scrubbed])\n\tby mx.example.org with esmtpsa (TLS1.3) tls TLS_AES_256_GCM_SHA384\n\t(Exim 4.94.2)\n\t(envelope-from <anna@example.org>)\n\tid 1oXyZa-0001Ab-2C\n\tfor dev@lists.example.org; Sun, 1 Jan 2023 10:11:12 +0100\n"},
	{"Received: from [2001:db8::7] (port=40022 helo=192.0.2.9)\n\tby mx.example.org with esmtp (Exim 4.94.2.1)\n\tid 1a; x\n",
		"Received: from [scrubbed] (port=40022 helo=scrubbed)\n\tby mx.example.org with esmtp (Exim 4.94.2.1)\n\tid 1a; x\n"},
	// sendmail
	{"Received: from anna (7.100.51.198.pool.isp.example [198.51.100.7] (may be forged)) (authenticated bits=0)\n\tby mx.example.org (8.14.4/8.14.4/Debian-4.1.2.3) with ESMTP id p1ABC123;\n",
		"Received: from anna (scrubbed [scrubbed] (may be forged)) (authenticated bits=0)\n\tby mx.example.org (8.14.4/8.14.4/Debian-4.1.2.3) with ESMTP id p1ABC123;\n"},
	// Exchange: its version has the form of an address
	{"Received: from EX1.corp.example (10.1.2.3) by EX2.corp.example (2001:db8:208:ac::17)\r\n with Microsoft SMTP Server (version=TLS1_2,\r\n cipher=TLS_ECDHE) id 15.1.2.3; Mon, 6 Mar 2023 10:11:12 +0000\r\n",
		"Received: from EX1.corp.example (scrubbed) by EX2.corp.example (scrubbed)\r\n with Microsoft SMTP Server (version=TLS1_2,\r\n cipher=TLS_ECDHE) id 15.1.2.3; Mon, 6 Mar 2023 10:11:12 +0000\r\n"},
	{"Received: from EX1 ([fe80::b5c4:3a1:cb1:4b1b]) by EX2\n ([fe80::1:2%14]) with mapi id 14.3.123.3; Mon\n",
		"Received: from EX1 ([scrubbed]) by EX2\n ([scrubbed]) with mapi id 14.3.123.3; Mon\n"},
	{"Received: from x ([192.0.2.7]) by y with Microsoft SMTPSVC(5.0.2.1); Mon\n",
		"Received: from x ([scrubbed]) by y with Microsoft SMTPSVC(5.0.2.1); Mon\n"},
	// Gmail
	{"Received: by 2002:a17:906:c9c8:b0:a0d:1234:5678 with SMTP id hk8csp123; Mon\n", "Received: by scrubbed with SMTP id hk8csp123; Mon\n"},
	{"X-Received: by 10.25.23.3 with SMTP id 10.25.23.3mr123; Mon\n", "X-Received: by scrubbed with SMTP id 10.25.23.3mr123; Mon\n"},
	{"Received: from mail-wm1-f54.example (mail-wm1-f54.example. [209.85.128.54])\n        by mx.example with ESMTPS id 1.2.3.4.2023.11.11\n",
		"Received: from mail-wm1-f54.example (mail-wm1-f54.example. [scrubbed])\n        by mx.example with ESMTPS id 1.2.3.4.2023.11.11\n"},
	// qmail, and its scanner
	{"Received: from unknown (HELO ?192.168.23.32?) (anna@198.51.100.7 with login)\n  by mail.example with SMTP; 8 Mar 2004 23:59:05 -0000\n",
		"Received: from unknown (HELO ?scrubbed?) (anna@scrubbed with login)\n  by mail.example with SMTP; 8 Mar 2004 23:59:05 -0000\n"},
	{"Received: from 198.51.100.7 by mail.example (envelope-from <a@b.example>, uid 64011) with qmail-scanner-1.25\n (clamdscan: 0.88.2.1/1.2.3.4. Clear:RC:1(198.51.100.7):. Processed in 0.1 secs)\n",
		"Received: from scrubbed by mail.example (envelope-from <a@b.example>, uid 64011) with qmail-scanner-1.25\n (clamdscan: 0.88.2.1/1.2.3.4. Clear:RC:1(scrubbed):. Processed in 0.1 secs)\n"},
	{"Received: (qmail 87263 messnum 771997 invoked from network[198.51.100.7/198-51-100-7.dsl.example]); 8 Mar 2004 23:59:05 -0000\n",
		"Received: (qmail 87263 messnum 771997 invoked from network[scrubbed/scrubbed]); 8 Mar 2004 23:59:05 -0000\n"},
	// webmail
	{"Received: from 198.51.100.7\n        (SquirrelMail authenticated user anna)\n        by webmail.example.org with HTTP;\n        Tue, 1 Jan 2008 10:11:12 +0100 (CET)\n",
		"Received: from scrubbed\n        (SquirrelMail authenticated user anna)\n        by webmail.example.org with HTTP;\n        Tue, 1 Jan 2008 10:11:12 +0100 (CET)\n"},
	{"Received: from pc.example ([198.51.100.7])\n by webmail.example.org (Horde Framework) with HTTPS; Mon, 06 Mar 2023 10:11:12 +0000\n",
		"Received: from pc.example ([scrubbed])\n by webmail.example.org (Horde Framework) with HTTPS; Mon, 06 Mar 2023 10:11:12 +0000\n"},
	{"Received: from dyn.198-051-100-007.isp.example [198.51.100.7]\n by webmail.example.org\n with HTTP (HTTP/1.1 POST); Mon\n",
		"Received: from scrubbed [scrubbed]\n by webmail.example.org\n with HTTP (HTTP/1.1 POST); Mon\n"},
	// others
	{"Received: from [128.0.2.223] (account a@b.example HELO [10.10.10.10])\n by c.example (CommuniGate Pro SMTP 6.1.2.1) with ESMTPSA id 88402416\n",
		"Received: from [scrubbed] (account a@b.example HELO [scrubbed])\n by c.example (CommuniGate Pro SMTP 6.1.2.1) with ESMTPSA id 88402416\n"},
	{"Received: (from KRYPTIK [192.0.2.51]) by host.example (NAVGW 2.5.2.12) with SMTP id M2006\n", "Received: (from KRYPTIK [scrubbed]) by host.example (NAVGW 2.5.2.12) with SMTP id M2006\n"},
	{"Received: from a.example(192.0.2.54), claiming to be \"10.0.0.1\" via SMTP by b.example, id smtpd1\n", "Received: from a.example(scrubbed), claiming to be \"scrubbed\" via SMTP by b.example, id smtpd1\n"},
	{"Received: from a ([192.0.2.24.63559]) by b with esmtp (v3.35.1.2) id 1\n", "Received: from a ([scrubbed]) by b with esmtp (v3.35.1.2) id 1\n"},
	{"Received: from a ([192.0.2.24:50387] helo=b) by m (ecelerity 2.1.1.3 r(11743)) with ESMTP id 80/0A\n", "Received: from a ([scrubbed:50387] helo=b) by m (ecelerity 2.1.1.3 r(11743)) with ESMTP id 80/0A\n"},
	{"Received: from a (a [::ffff:192.0.2.24]) (AUTH: LOGIN x) by b with esmtp; id 000000DB.43735815.00001E11\n", "Received: from a (a [scrubbed]) (AUTH: LOGIN x) by b with esmtp; id 000000DB.43735815.00001E11\n"},
	{"Received: from P by newtv.example (VisNetic.MailServer.v8.3.0.1) with ASMTP id AYT39007\n", ""},
	{"Received: from [XMail 1.20.1.1] by b version 1.2.3.4, 10.11.12 10:11:12\n", "Received: from [XMail scrubbed] by b version 1.2.3.4, 10.11.12 10:11:12\n"},
	{"received : from \xe4\xf6 (\xfc [192.0.2.1])\n", "received : from \xe4\xf6 (\xfc [scrubbed])\n"},
	// fields that are an address
	{"X-Originating-IP: [198.51.100.7]\n", "-"},
	{"X-Originating-IP:\r\n\t198.51.100.7,\r\n 2001:db8::1\r\n", "-"},
	{"X-Sender-IP: 198.51.100.7\n", "-"},
	{"X-AuthUser-IP: ::1\n", "-"},
	{"X-SenderIP: 198.51.100.7 (anna)\n", "X-SenderIP: scrubbed (anna)\n"},
	{"X-Forwarded-For: 198.51.100.7, 10.0.0.1\n", "-"},
	{"X-Forwarded-For: a@example.org b@example.org\n", ""},
	{"X-Real-IP: unknown\n", ""},
	{"X-PHP-Script: www.example.org/form.php for 198.51.100.7, 198.51.100.7\n", "X-PHP-Script: www.example.org/form.php for scrubbed, scrubbed\n"},
	{"X-Forefront-Antispam-Report: CIP:198.51.100.7;CTRY:DE;IPV:NLI;H:dyn-198-51-100-7.example;\n", "X-Forefront-Antispam-Report: CIP:scrubbed;CTRY:DE;IPV:NLI;H:scrubbed;\n"},
	{"X-Forefront-Antispam-Report: CIP:2001:db8::7;CTRY:DE\n", "X-Forefront-Antispam-Report: CIP:scrubbed;CTRY:DE\n"},
	{"X-Greylist: Sender IP whitelisted, not delayed by milter-greylist-4.6.2.1 (mx.example [198.51.100.7]); Mon\n", "X-Greylist: Sender IP whitelisted, not delayed by milter-greylist-4.6.2.1 (mx.example [scrubbed]); Mon\n"},
	{"X-Spam-Report: *  1.3 RCVD_IN RBL: x\n\t*      [198.51.100.7 listed in zen.example]\n", "X-Spam-Report: *  1.3 RCVD_IN RBL: x\n\t*      [scrubbed listed in zen.example]\n"},
	// results of checks
	{"Received-SPF: pass (example.org: domain of a@example.org designates 198.51.100.7 as permitted sender) client-ip=198.51.100.7; helo=[198.51.100.7]; envelope-from=<a@example.org>;\n",
		"Received-SPF: pass (example.org: domain of a@example.org designates scrubbed as permitted sender) client-ip=scrubbed; helo=[scrubbed]; envelope-from=<a@example.org>;\n"},
	{"Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=2001:db8::1; mechanism=ip6:2001:db8::/32\n", "Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=scrubbed; mechanism=ip6:scrubbed/32\n"},
	{"Authentication-Results: mx.example; iprev=pass policy.iprev=\"2001:db8::1\" (mail.example);\n\tspf=pass (sender IP is 198.51.100.7) smtp.remote-ip=198.51.100.7\n",
		"Authentication-Results: mx.example; iprev=pass policy.iprev=\"scrubbed\" (mail.example);\n\tspf=pass (sender IP is scrubbed) smtp.remote-ip=scrubbed\n"},
	{"ARC-Authentication-Results: i=1; mx.example; spf=pass (ip4:192.0.2.0/24 has 192.0.2.7.)\n", "ARC-Authentication-Results: i=1; mx.example; spf=pass (ip4:scrubbed/24 has scrubbed.)\n"},
	// not ours
	{"Message-ID: <10.11.12.13@example.org>\n", ""},
	{"X-Mailer: Foo 1.2.3.4\n", ""},
	{"Subject: [192.0.2.1] is down\n", ""},
	{"Date: 10.11.12 10:11:12\n", ""},
	{"DKIM-Signature: bh=10.11.12.13\n", ""},
	{"192.0.2.1\n", ""},
	{" Received: from [192.0.2.1]\n", ""},
}

func TestScrub(t *testing.T) {
	for _, c := range scrubs {
		want := c.want
		switch want {
		case "":
			want = c.field
		case "-":
			want = ""
		}
		const before, after = "From a@b Sat Jan  1 10:11:12 2022\nSubject: a\n", "To: b@[192.0.2.1]\n\nReceived: from [192.0.2.1]\n"
		got, n := Scrub([]byte(before + c.field + after))
		if string(got) != before+want+after {
			text := strings.TrimSuffix(strings.TrimPrefix(string(got), before), after)
			t.Errorf("%q\nbecame %q\n  want %q", c.field, text, want)
		}
		left := strings.Count(want, Scrubbed)
		if c.want == "-" && n == 0 || c.want != "-" && n != left {
			t.Errorf("%q: %d are said to be removed, and %d are marked", c.field, n, left)
		}
	}
}

func TestScrubShapes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"\nReceived: from [192.0.2.1]\n", "\nReceived: from [192.0.2.1]\n"},
		{"\r\nReceived: from [192.0.2.1]\n", "\r\nReceived: from [192.0.2.1]\n"},
		{"From a@[192.0.2.1] Sat\nX-IP: 192.0.2.1", "From a@[192.0.2.1] Sat\n"},
		{"From a\nReceived: from 192.0.2.1", "From a\nReceived: from scrubbed"},
		{"Received: from 192.0.2.1\n\nfoo", "Received: from scrubbed\n\nfoo"},
		{"X-IP: 192.0.2.1\n\t \n more\nA: b\n", "X-IP: scrubbed\n\t \n more\nA: b\n"},
	} {
		if got, _ := Scrub([]byte(c.in)); string(got) != c.want {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
	}
}
