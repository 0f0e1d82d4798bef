<!-- What MHonArc is told when rplan makes pages again. Mail is written by strangers, so nothing
     in it becomes markup: HTML is shown as the text that it has. -->

<TextEncode>
utf-8; MHonArc::UTF8::to_utf8; MHonArc/UTF8.pm
</TextEncode>
<CharsetConverters override>
default; mhonarc::htmlize
</CharsetConverters>
<!-- This one's file is the one that is read before the first message. -->
<TextClipFunc>
MHonArc::UTF8::clip; rplan.pl
</TextClipFunc>

<MIMEAltPrefs>
text/plain
text/html
</MIMEAltPrefs>
<!-- What is not named goes the way of application/octet-stream. There is no */*, as it would take
     in the messages that were forwarded. -->
<MIMEFilters override>
text/html;   rplan::html;           rplan.pl
text/x-html; rplan::html;           rplan.pl
text/*;      m2h_text_plain::filter; mhtxtplain.pl
message/delivery-status; m2h_text_plain::filter; mhtxtplain.pl
message/external-body;   m2h_text_plain::filter; mhtxtplain.pl
message/partial;         m2h_text_plain::filter; mhtxtplain.pl
application/octet-stream; rplan::file; rplan.pl
application/*; rplan::file; rplan.pl
image/*;     rplan::file; rplan.pl
audio/*;     rplan::file; rplan.pl
video/*;     rplan::file; rplan.pl
</MIMEFilters>
<MIMEArgs override>
m2h_text_plain::filter; nourl disableflowed
rplan::html; nourl disableflowed
rplan::file; inline
</MIMEArgs>

<Main>
<Thread>
<MultiPg>
<IdxSize>
500
</IdxSize>
<IdxFName>
index.html
</IdxFName>
<TIdxFName>
threads.html
</TIdxFName>
<NoDoc>
<UMask>
022
</UMask>

<IdxPgBegin>
<!DOCTYPE html>
<html>
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self'">
<title>$IDXTITLE$</title>
</head>
<body>
<h1>$IDXTITLE$</h1>
</IdxPgBegin>
<TIdxPgBegin>
<!DOCTYPE html>
<html>
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self'">
<title>$TIDXTITLE$</title>
</head>
<body>
<h1>$TIDXTITLE$</h1>
</TIdxPgBegin>
<MsgPgBegin>
<!DOCTYPE html>
<html>
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self'">
<title>$SUBJECTNA$</title>
</head>
<body>
</MsgPgBegin>
