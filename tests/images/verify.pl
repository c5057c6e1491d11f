# Verifies the DKIM signatures of the mail on standard input with the records of the arguments (name=value).
# Prints a line for each: its result, domain, identity and algorithm.
use strict;
use warnings;
use Mail::DKIM::Verifier;

my %records = map { split /=/, $_, 2 } @ARGV;

{ package Record; sub type { 'TXT' } sub txtdata { ${ $_[0] } } }

no warnings 'redefine';
*Mail::DKIM::DNS::query_async = sub {
    my ($name, $type, %options) = @_;
    my @found = map { bless \$_, 'Record' } $records{$name} // ();
    return sub { $options{Callbacks}{Success}->(@found) };
};

my $verifier = Mail::DKIM::Verifier->new;
binmode STDIN;
$verifier->PRINT($_) while <STDIN>;
$verifier->CLOSE;
print join(' ', $_->result_detail, $_->domain, $_->identity, $_->algorithm), "\n" for $verifier->signatures;
