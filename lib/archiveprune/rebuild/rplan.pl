# Filters for MHonArc, see mhonarc.mrc. Each is called with the fields of a part, a reference to its
# decoded content, whether it was decoded, and the arguments; it returns HTML and the names of files.
package rplan;

require 'MHonArc/UTF8.pm';
require 'mhtxtplain.pl';
require 'mhexternal.pl';

# A date that no calendar has, such as 30 February, is none. MHonArc would end at it, and make no page at all.
my $time_of = \&mhonarc::get_time_from_date;
{
    no warnings 'redefine';
    *mhonarc::get_time_from_date = sub { eval { $time_of->(@_) } || 0 };
}

# What a browser shows by itself and cannot run. All else is a file without a type of its own.
my %harmless = map { $_ => 1 } qw(image/png image/jpeg image/gif application/pdf
    application/pgp-signature application/zip application/gzip application/x-gzip);

# html shows the text of HTML. It need not be found well, as what is found is escaped like any text.
sub html {
    my($fields, $data, $isdecode, $args) = @_;
    my $text = $$data;
    foreach my $element ('style', 'script') {
	my($from, $lower) = (0, lc $text);
	my @kept;
	while ((my $start = index($lower, "<$element", $from)) >= 0) {
	    my $end = index($lower, "</$element", $start);
	    last if $end < 0;
	    push @kept, substr($text, $from, $start - $from);
	    $from = $end;
	}
	$text = join('', @kept, substr($text, $from));
    }
    $text =~ s/[ \t\r]*\n[ \t\r]*/\n/g;
    $text =~ s/<(?:br|p|div|tr|li|h[1-6]|blockquote|pre|table)\b[^<>]*>/\n/gi;
    $text =~ s/<[a-z\/!?][^<>]*>//gi;
    my %name = (lt => '<', gt => '>', quot => '"', nbsp => ' ', amp => '&');
    $text =~ s/&(lt|gt|quot|nbsp|amp);/$name{lc $1}/gie;
    $text =~ s/\n{3,}/\n\n/g;
    m2h_text_plain::filter($fields, \$text, $isdecode, $args);
}

# file puts a part beside the page.
sub file {
    my($fields, $data, $isdecode, $args) = @_;
    my $type = $fields->{'x-mha-content-type'};
    ($type) = lc($fields->{'content-type'}[0]) =~ m{^\s*([\w\-./+]+)} unless defined $type;
    my %safe = %$fields;
    unless (defined $type && $harmless{$type}) {
	$safe{'x-mha-content-type'} = 'application/octet-stream';
	$args = 'forceattach';
    }
    my($html, @files) = m2h_external::filter(\%safe, $data, $isdecode, $args);
    foreach my $file (@files) { # a full disk is nothing to it
	my $size = -s "$mhonarc::OUTDIR/$file";
	rplan::stop("$file has not all of its " . length($$data) . " bytes") unless ($size || 0) == length($$data);
    }
    ($html, @files);
}

# stop ends MHonArc, which would go on after die.
sub stop {
    print STDERR "rplan.pl: $_[0]\n";
    exit 74; # EX_IOERR
}

1;
