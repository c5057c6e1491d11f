package MailFilter::Pumps;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(texts);

# Texts on which a pattern that backtracks without end would do so: a part of what it matches, over and over, and then
# something that does not go on as it wants.

my @LENGTHS = (30, 150);        # characters
my $MOST = 60;                  # parts to repeat

sub texts {
  my ($pattern) = @_;
  my @atoms = atoms($pattern);
  my $whole = join '', @atoms;
  my %seen;
  my @texts;
  for my $part (parts(@atoms)) {
    my ($before, $repeated) = @$part;
    for my $length (@LENGTHS) {
      my $pumped = $repeated x (1 + $length / length $repeated);
      # What follows has all that the pattern needs: without it Perl knows at once that nothing can match.
      push @texts, grep { !$seen{$_}++ } map { ($_ . $pumped . "\x01$whole", "$_$pumped") } '', $before;
    }
  }
  return @texts;
}

# Pairs of what the pattern wants before a part, and the part.
sub parts {
  my (@atoms) = @_;
  my (@parts, %seen);
  for my $width (1 .. 4, 6, 8) {
    for my $start (0 .. @atoms - $width) {
      my $repeated = join '', @atoms[ $start .. $start + $width - 1 ];
      next if $seen{$repeated}++;
      push @parts, [ join('', @atoms[ 0 .. $start - 1 ]), $repeated ];
      return @parts if @parts == $MOST;
    }
  }
  return @parts;
}

my $NO_CHARACTER = qr/
    \(\?\^?[a-z-]*[:)] | \(\?(?:[=!>|]|<[=!]) | \(\?P?<\w+> | \(\?\#[^)]*\) | \(\*[^)]*\) | [()|]     # groups
  | [\^\$] | \\[AbBGKzZ](?:\{\w+\})?                                                                  # places
  | \\[1-9] | \\g(?:\d+|\{[^}]*\}) | \\k[<\{']\w+[>\}']                                               # backreferences
  | (?:[*+?]|\{\d*,?\d*\})[+?]?                                                                       # repetitions
/x;
my $CLASS = qr/
    \[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\] | \\[pP](?:\w|\{[^}]*\}) | \\x(?:\{[0-9A-Fa-f]+\}|[0-9A-Fa-f]{0,2})
  | \\N\{[^}]*\} | \\[dDwWsShHvVNRXtnrfae] | \\[0-7]{3} | \\c. | [.]
/xs;

# A character for each place of the pattern, in their order and without its structure.
sub atoms {
  my ($pattern) = @_;
  my $blanks_count = $pattern !~ /\A\(\?\^[a-z]*x/;
  my @atoms;
  while ($pattern =~ /\G(?:$NO_CHARACTER|(?<class>$CLASS)|\\(?<escaped>.)|(?<plain>.))/gs) {
    my $character = defined $+{class} ? member($+{class}) : $+{escaped} // $+{plain} // next;
    push @atoms, $character if $blanks_count || $character =~ /\S/;
  }
  return @atoms;
}

my @CANDIDATES = ('a', '0', ' ', 'A', map { chr } 33 .. 126, 9, 10, 13, 0, 128 .. 255);
my %member;

sub member {
  my ($class) = @_;
  return $member{$class} //= do {
    my $pattern = eval { no warnings; qr/\A$class\z/s };
    my ($first) = $pattern ? grep { $_ =~ $pattern } @CANDIDATES : ();
    $first // 'a';
  };
}

1;
