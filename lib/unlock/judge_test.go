package unlock

import (
	"maps"
	"strings"
	"testing"
	"time"
)

var (
	now   = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	hashA = strings.Repeat("a", 64)
	hashB = strings.Repeat("b", 64)
)

const uuid = "5b1c1b2a-0000-4000-8000-000000000001"

// well is a node that was enrolled a day ago while it ran.
func well() *Reading {
	return &Reading{Clock: now.Add(-24 * time.Hour), Where: inSystem, Boots: 7, Cmdline: "root=/dev/mapper/root ro",
		Files:    map[string]string{"vmlinuz-6.1": hashA, "initrd.img-6.1": hashB},
		Headers:  map[string]Header{uuid: {3, hashA}},
		Hardware: map[string]string{"product_serial": "X1", "board_name": "B"},
		Drives:   map[string]Drive{"S1": {"Disk", 1000, 20}}}
}

// waiting is the same node in its initramfs, after a power cut.
func waiting() *Reading {
	r := well()
	r.Clock, r.Where = now, inInitramfs
	r.Drives = map[string]Drive{"S1": {"Disk", 1024, 21}}
	return r
}

func TestJudge(t *testing.T) {
	for why, c := range map[string]struct {
		reading func(r *Reading)
		known   func(k *Known)
		want    Verdict
		words   string // of the one observation that is not fine
	}{
		"a power cut":       {want: Clean},
		"a restart":         {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", 1024, 20} }, want: Clean},
		"running, well":     {reading: func(r *Reading) { r.Where = inSystem; r.Drives["S1"] = Drive{"Disk", 1024, 20} }, want: Clean},
		"off for too long":  {known: func(k *Known) { k.Alive = now.Add(-time.Hour) }, want: Suspicious, words: "off for|at most 5 min|at most 1 h"},
		"nobody saw it run": {known: func(k *Known) { k.Alive = time.Time{} }, want: Suspicious, words: "off for|at most 5 min|not known"},
		"announced":         {known: func(k *Known) { k.Alive = now.Add(-time.Hour); k.Ticket = "new memory" }, want: Explained, words: "off for|announced: new memory|at most 1 h"},
		"announced, and never seen": {known: func(k *Known) { k.Alive = time.Time{}; k.Ticket = "new memory" }, want: Explained,
			words: "off for|announced: new memory|not known"},
		"announced, with other files": {reading: func(r *Reading) { r.Files["vmlinuz-6.1"] = hashB }, known: func(k *Known) { k.Ticket = "new kernel" }, want: Suspicious,
			words: "/boot/vmlinuz-6.1|aaaaaaaaaaaa...|bbbbbbbbbbbb..."},
		"by its own word it was off only a moment": {reading: func(r *Reading) { r.Alive = now.Add(-time.Minute) }, known: func(k *Known) { k.Alive = time.Time{} }, want: Clean},
		"by its own word it runs tomorrow":         {reading: func(r *Reading) { r.Alive = now.Add(time.Hour) }, known: func(k *Known) { k.Alive = time.Time{} }, want: Suspicious, words: "off for||not known"},
		"another initramfs":                        {reading: func(r *Reading) { r.Files["initrd.img-6.1"] = hashA }, want: Suspicious, words: "/boot/initrd.img-6.1"},
		"a file more":                              {reading: func(r *Reading) { r.Files["evil"] = hashA }, want: Suspicious, words: "/boot/evil|none|aaa"},
		"a file less":                              {reading: func(r *Reading) { delete(r.Files, "vmlinuz-6.1") }, want: Suspicious, words: "/boot/vmlinuz-6.1|aaa|none"},
		"another command line":                     {reading: func(r *Reading) { r.Cmdline += " init=/bin/sh" }, want: Suspicious, words: "kernel command line||init=/bin/sh"},
		"a keyslot changed":                        {reading: func(r *Reading) { r.Headers[uuid] = Header{4, hashB} }, want: Suspicious, words: "LUKS header|epoch 3|epoch 4: a keyslot was changed"},
		"a header put back":                        {reading: func(r *Reading) { r.Headers[uuid] = Header{2, hashB} }, want: Suspicious, words: "LUKS header|epoch 3|epoch 2, an older header"},
		"a header forged":                          {reading: func(r *Reading) { r.Headers[uuid] = Header{3, hashB} }, want: Suspicious, words: "LUKS header|epoch 3|another content"},
		"a disk missing":                           {reading: func(r *Reading) { r.Headers = nil }, want: Suspicious, words: "LUKS header|epoch 3|none"},
		"another board":                            {reading: func(r *Reading) { r.Hardware["product_serial"] = "X2" }, want: Suspicious, words: "hardware product_serial|X1|X2"},
		"hardware that it does not name":           {reading: func(r *Reading) { delete(r.Hardware, "board_name") }, want: Suspicious, words: "hardware board_name|B|none"},
		"another drive":                            {reading: func(r *Reading) { r.Drives = map[string]Drive{"S1": r.Drives["S1"], "S2": {"Copy", 1, 1}} }, want: Suspicious, words: "drive S2|none|Copy"},
		"a drive less":                             {reading: func(r *Reading) { r.Drives = nil }, want: Suspicious, words: "drive S1|Disk|none"},
		"two power cycles, one boot":               {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", 1024, 22} }, want: Suspicious, words: "power cycles|20 or 21|22: it was powered up more often"},
		"a power cycle of a node that runs":        {reading: func(r *Reading) { r.Where = inSystem }, want: Suspicious, words: "power cycles|20|21: it was powered up more often"},
		"fewer power cycles":                       {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", 1024, 19} }, want: Suspicious, words: "power cycles||19, fewer than before"},
		"power cycles hidden":                      {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", 1024, -1} }, want: Suspicious, words: "power cycles||does not say any more"},
		"hours that have not passed":               {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", 1030, 21} }, want: Suspicious, words: "hours on|1000 to 1025|1030, more than have passed"},
		"hours set back":                           {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", 999, 21} }, want: Suspicious, words: "hours on||999, fewer"},
		"hours hidden":                             {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", -1, 21} }, want: Suspicious, words: "hours on||does not say"},
		"a boot without us":                        {reading: func(r *Reading) { r.Boots = 8 }, want: Suspicious, words: "boots|7|8: it came up without us"},
		"a boot that we let happen":                {reading: func(r *Reading) { r.Boots = 8 }, known: func(k *Known) { k.Unlocked = true }, want: Clean},
		"boots set back":                           {reading: func(r *Reading) { r.Boots = 6 }, want: Suspicious, words: "boots||6: what is on its disk is older"},
		"boots hidden":                             {reading: func(r *Reading) { r.Boots = -1 }, want: Suspicious, words: "boots||does not count"},
		"a clock that is wrong":                    {reading: func(r *Reading) { r.Clock = now.Add(-3 * time.Hour) }, want: Suspicious, words: "clock|right to 10 min|3 h behind"},
		"a clock that is nearly right":             {reading: func(r *Reading) { r.Clock = now.Add(2 * time.Minute) }, want: Clean},
		"no files at all":                          {reading: func(r *Reading) { r.Files = nil }, known: func(k *Known) { k.Baseline.Files = nil }, want: Suspicious, words: "files of /boot|some|none"},
		"a drive that never counted":               {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", -1, -1} }, known: func(k *Known) { k.Baseline.Drives["S1"] = Drive{"Disk", -1, -1} }, want: Clean},
		"since the last unlocking": {reading: func(r *Reading) { r.Drives["S1"] = Drive{"Disk", 1101, 24}; r.Boots = 10 }, known: func(k *Known) {
			last := waiting()
			last.Clock, last.Boots, last.Drives = now.Add(-time.Hour), 9, map[string]Drive{"S1": {"Disk", 1100, 23}}
			k.Last, k.Unlocked = last, true
		}, want: Clean},
	} {
		r, k := waiting(), &Known{Baseline: well(), Alive: now.Add(-2 * time.Minute), MaxOff: 5 * time.Minute, Now: now}
		if c.reading != nil {
			c.reading(r)
		}
		if c.known != nil {
			c.known(k)
		}
		got, all := Judge(r, k)
		if got != c.want {
			t.Errorf("%s: %s, want %s: %+v", why, got, c.want, all)
		}
		odd := 0
		for _, o := range all {
			if o.Weight == Fine {
				continue
			}
			odd++
			words := strings.Split(c.words+"||", "|")
			for i, text := range []string{o.What, o.Expected, o.Seen} {
				if !strings.Contains(text, words[i]) {
					t.Errorf("%s: %q is not in %q", why, words[i], text)
				}
			}
		}
		if odd != map[bool]int{true: 0, false: 1}[c.want == Clean] {
			t.Errorf("%s: %d observations are not fine: %+v", why, odd, all)
		}
	}
}

const probed = `rplan-probe 1
where initramfs
clock 1764158400
alive 1764158300
boots 7
cmdline root=/dev/mapper/root ro
file aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa vmlinuz-6.1
file aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa grub/a file
luks 5B1C1B2A-0000-4000-8000-000000000001 3 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
dmi product_serial X 1
drive S1 1000 - Disk of 1 TB
prompt root_crypt 1 3
end
`

func TestParseReading(t *testing.T) {
	r, err := parseReading([]byte(probed))
	if err != nil {
		t.Fatal(err)
	}
	if r.Where != inInitramfs || r.Clock.Unix() != 1764158400 || r.Alive.Unix() != 1764158300 || r.Boots != 7 || r.Cmdline != "root=/dev/mapper/root ro" ||
		!maps.Equal(r.Files, map[string]string{"vmlinuz-6.1": hashA, "grub/a file": hashA}) || r.Headers[uuid] != (Header{3, hashB}) ||
		r.Hardware["product_serial"] != "X 1" || r.Drives["S1"] != (Drive{"Disk of 1 TB", 1000, -1}) || r.Prompts["root_crypt"] != (Prompt{1, 3}) {
		t.Errorf("%+v", r)
	}
	least, err := parseReading([]byte("rplan-probe 1\nwhere system\nclock 1\ncmdline \nend\n"))
	if err != nil || least.Boots != -1 {
		t.Errorf("%+v, %v", least, err)
	}
	for text, word := range map[string]string{
		"":                              "said nothing",
		"hello\n":                       "its first line",
		probed[:len(probed)-4]:          "cut off after 12 lines",
		probed[:300]:                    "",
		probed + "more\n":               "goes on after its end",
		strings.Repeat("x", maxProbe+1): "more than 1048576 bytes",
		"rplan-probe 1\n" + strings.Repeat("x", 5000):      "line 2 is longer",
		"rplan-probe 1\n" + lines("dmi k%d v", 6000):       "more than 5000 lines",
		"rplan-probe 1\nend\n":                             "did not say where",
		with("where moon"):                                 "neither",
		with("clock -1"):                                   "no time",
		with("clock 99999999999999999999"):                 "no time",
		with("boots x"):                                    "no number",
		with("unlocking no"):                               "not \"yes\"",
		with("boots 4294967296"):                           "no number",
		with("clock 1\nclock 2"):                           "said before",
		with("cmdline \x1b[2J"):                            "no printable ASCII",
		with("cmdline ü"):                                  "no printable ASCII",
		with("shell /bin/sh"):                              "nobody asked",
		with("file " + hashA):                              "not 2 words",
		with("file " + hashA + " "):                        "not 2 words",
		with("file xx a"):                                  "no SHA-256",
		with("file " + hashA + " a\nfile " + hashB + " a"): "said before",
		with("luks u 3"):                                   "not 3 words",
		with("luks u x " + hashA):                          "no epoch",
		with("luks u 1 " + hashA + "\nluks u 2 " + hashA):  "said before",
		with("drive s 1 2"):                                "not 4 words",
		with("drive s 1 x m"):                              "no number",
	} {
		r, err := parseReading([]byte(text))
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.60q: %+v, %v", text, r, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\a") {
			t.Errorf("the error steers a terminal: %q", err)
		}
	}
}

// with is a probe's output with these lines in it.
func with(text string) string { return "rplan-probe 1\n" + text + "\nend\n" }

func lines(format string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Replace(format, "%d", strings.Repeat("i", i%50+1)+strings.Repeat("j", i/50+1), 1) + "\n")
	}
	return b.String()
}

// FuzzReading: whatever a node says, nothing of it can steer a terminal, and what is taken can be judged.
func FuzzReading(f *testing.F) {
	f.Add([]byte(probed))
	f.Add([]byte("rplan-probe 1\nwhere system\nclock 1\ncmdline \nend\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		r, err := parseReading(out)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\x1b\a\x00\n") {
				t.Errorf("%q", err)
			}
			return
		}
		_, all := Judge(r, &Known{Baseline: r, Now: now, MaxOff: time.Minute})
		for _, o := range all {
			for _, c := range o.What + o.Expected + o.Seen {
				if c < ' ' || c > '~' {
					t.Errorf("%+v", o)
				}
			}
		}
	})
}
